"""Outputs are complete or absent."""

import os
from pathlib import Path

import pytest

from slash_infer.errors import UserError
from slash_infer.files import atomic_directory, atomic_file, check_directory_output, check_file_output


def test_a_failed_file_leaves_nothing_and_the_old_one_alone(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.txt"
    with pytest.raises(RuntimeError), atomic_file(out) as part:
        part.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "b.txt"
    kept.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(kept) as part:
        part.write_text("half")
        raise RuntimeError
    assert kept.read_text() == "old" and list(tmp_path.iterdir()) == [kept]


def test_a_failed_directory_leaves_nothing_and_the_old_one_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for old in (None, "old"):
        if old:
            out.mkdir()
            (out / "kept").write_text(old)
        with pytest.raises(RuntimeError), atomic_directory(out) as part:
            (part / "half").write_text("half")
            raise RuntimeError
        assert [p.name for p in tmp_path.rglob("*")] == (["out", "kept"] if old else [])
    with atomic_directory(out) as part:
        (part / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


def test_a_swap_that_fails_puts_the_old_directory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("old")
    genuine = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == out and self.suffix == ".part":
            raise KeyboardInterrupt
        return genuine(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyboardInterrupt), atomic_directory(out) as part:
        (part / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "kept"]


def test_force_replaces_only_what_the_same_command_made(tmp_path: Path) -> None:
    theirs = tmp_path / "webapp"
    theirs.mkdir()

    def check(*, force: bool, inputs: tuple[Path, ...] = ()) -> None:
        check_directory_output(theirs, force=force, metadata="metadata.json", made_by="slash prepare", inputs=inputs)

    for content, force, says in (
        (None, False, "already exists"),
        (None, True, "was not made by slash prepare"),
        ('{"name": "web app"}', True, "was not made by slash prepare"),
        ('{"made_by": "slash train"}', True, "was not made by slash prepare"),
        ("[" * 100_000, True, "was not made by slash prepare"),
    ):
        if content is not None:
            (theirs / "metadata.json").write_text(content)
        with pytest.raises(UserError, match=says):
            check(force=force)
    (theirs / "metadata.json").write_text('{"made_by": "slash prepare"}')
    check(force=True)
    with pytest.raises(UserError, match="which is to be read"):
        check(force=True, inputs=(theirs / "take.wav",))


def test_force_replaces_plain_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a file"):
        check_file_output(tmp_path / "pipe", force=True)
    (tmp_path / "song.json").write_text("{}")
    check_file_output(tmp_path / "song.json", force=True)
    with pytest.raises(UserError, match="was not made by slash generate"):
        check_file_output(tmp_path / "song.json", force=True, made_by="slash generate")
