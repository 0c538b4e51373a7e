"""Outputs are complete or absent."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slash_infer.errors import UserError
from slash_infer.files import (
    atomic_directory,
    atomic_file,
    check_directory_output,
    check_file_output,
    moves,
    write_json,
)


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
        with pytest.raises(RuntimeError), atomic_directory(out, force=True) as part:
            (part / "half").write_text("half")
            raise RuntimeError
        assert [p.name for p in tmp_path.rglob("*")] == (["out", "kept"] if old else [])
    with atomic_directory(out, force=True) as part:
        (part / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


@pytest.fixture(params=[True, False], ids=["renameat2", "no renameat2"])
def any_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems with and without moves that replace nothing, and exchanges."""
    if not request.param:
        monkeypatch.setattr(moves, "RENAMEAT2", None)


@pytest.mark.usefixtures("any_system")
def test_what_appears_while_an_output_is_made_stays(tmp_path: Path) -> None:
    for name, appear in (
        ("a file", lambda path: path.write_text("theirs")),
        ("a folder", lambda path: path.mkdir()),
        ("a full folder", lambda path: (path / "inside").mkdir(parents=True)),
        ("a pipe", os.mkfifo),
        ("a broken link", lambda path: path.symlink_to("nowhere")),
    ):
        for make in (atomic_file, atomic_directory):
            out = tmp_path / name / make.__name__
            with (
                pytest.raises(UserError, match=f"{make.__name__}: already exists; choose another `out`"),
                make(out) as part,
            ):
                _fill(part)
                appear(out)
            assert not list(out.parent.glob(".*"))
            assert not (out / "kept").exists() and not (out.is_file() and out.read_text() != "theirs")


@pytest.mark.usefixtures("any_system")
def test_force_removes_nothing_foreign_that_appears_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(UserError, match="was not made by slash prepare"),
        atomic_directory(out, force=True, metadata="corpus.json", made_by="slash prepare") as part,
    ):
        _fill(part)
        (out / "thesis").mkdir(parents=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "thesis"]
    file = tmp_path / "scores.json"
    with (
        pytest.raises(UserError, match="was not made by slash evaluate"),
        atomic_file(file, force=True, made_by="slash evaluate") as part,
    ):
        _fill(part)
        file.write_text("{}")
    assert file.read_text() == "{}"
    for make, appear in ((atomic_file, Path.mkdir), (atomic_directory, Path.touch), (atomic_file, os.mkfifo)):
        place = tmp_path / "place"
        with pytest.raises(UserError, match="is not a f"), make(place, force=True) as part:
            _fill(part)
            appear(place)
        assert place.exists()
        place.rmdir() if place.is_dir() else place.unlink()


@pytest.mark.usefixtures("any_system")
def test_force_replaces_what_the_same_command_made_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_directory(out, force=True, metadata="corpus.json", made_by="slash prepare") as part:
        _fill(part)
        write_json(out / "corpus.json", {"made_by": "slash prepare"})
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "kept"]


def test_what_takes_the_place_in_the_last_moment_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is looked at, then exchanged: what came in between comes out, is looked at, and goes back."""
    out, genuine = tmp_path / "out", moves.exchange
    write_json(out / "corpus.json", {"made_by": "slash prepare"})

    def late(one: Path, other: Path) -> bool:
        if (other / "corpus.json").exists():
            (out / "corpus.json").unlink()
            (out / "thesis").mkdir()
        return genuine(one, other)

    monkeypatch.setattr("slash_infer.files.atomic.exchange", late)
    with (
        pytest.raises(UserError, match="was not made by slash prepare"),
        atomic_directory(out, force=True, metadata="corpus.json", made_by="slash prepare") as part,
    ):
        _fill(part)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "thesis"]


@pytest.mark.parametrize("make", [atomic_file, atomic_directory])
def test_of_two_at_once_one_is_refused_and_the_other_is_whole(tmp_path: Path, make: Any) -> None:
    for round_ in range(20):
        out, together = tmp_path / f"out-{round_}", threading.Barrier(8)

        def work(number: int, out: Path = out, together: threading.Barrier = together) -> int | None:
            try:
                with make(out) as part:
                    _fill(part, str(number))
                    together.wait()
            except UserError as error:
                assert "already exists" in str(error)
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            (winner,) = [number for number in pool.map(work, range(8)) if number is not None]
        assert (out if out.is_file() else out / "kept").read_text() == str(winner)
    assert len(list(tmp_path.iterdir())) == 20


def _fill(part: Path, text: str = "ours") -> None:
    """Write a file where the output is made, or in it."""
    (part / "kept" if part.is_dir() else part).write_text(text)


def test_a_swap_that_fails_puts_the_old_directory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two directories cannot be exchanged, one is moved aside first."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("old")
    genuine = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and (self / "new").exists():
            raise KeyboardInterrupt
        return genuine(self, target)

    monkeypatch.setattr(moves, "RENAMEAT2", None)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt), atomic_directory(out, force=True) as part:
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


def test_force_replaces_a_link_to_what_the_same_command_made(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    held, link = tmp_path / "kept" / "song.json", tmp_path / "song.json"
    write_json(held, {"made_by": "slash generate"})
    link.symlink_to("kept/song.json")  # from the part it is moved to, it would lead nowhere
    write_json(link, {"made_by": "slash generate", "clip": 2}, made_by="slash generate")
    assert not link.is_symlink() and "clip" in link.read_text() and "clip" not in held.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "song.json"}
