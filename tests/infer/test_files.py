"""Outputs are whole or absent."""

from pathlib import Path

import pytest

from slash_infer.errors import UserError
from slash_infer.files import refuse_to_overwrite, whole_directory, whole_file


def test_a_failed_file_leaves_nothing_and_the_old_one_alone(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.txt"
    with pytest.raises(RuntimeError), whole_file(out) as part:
        part.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "b.txt"
    kept.write_text("old")
    with pytest.raises(RuntimeError), whole_file(kept) as part:
        part.write_text("half")
        raise RuntimeError
    assert kept.read_text() == "old" and list(tmp_path.iterdir()) == [kept]


def test_a_failed_directory_leaves_nothing_and_the_old_one_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for old in (None, "old"):
        if old:
            out.mkdir()
            (out / "kept").write_text(old)
        with pytest.raises(RuntimeError), whole_directory(out) as part:
            (part / "half").write_text("half")
            raise RuntimeError
        assert [p.name for p in tmp_path.rglob("*")] == (["out", "kept"] if old else [])
    with whole_directory(out) as part:
        (part / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


def test_force_never_replaces_a_folder_slash_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="already exists"):
        refuse_to_overwrite(tmp_path / "photos", force=False, marker="corpus.json")
    with pytest.raises(UserError, match="not made by this command"):
        refuse_to_overwrite(tmp_path / "photos", force=True, marker="corpus.json")
    (tmp_path / "photos" / "corpus.json").write_text("{}")
    refuse_to_overwrite(tmp_path / "photos", force=True, marker="corpus.json")
