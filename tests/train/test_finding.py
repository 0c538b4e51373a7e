"""Every file in the sources is found, or accounted for."""

import inspect
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.errors import UserError
from slash_train.finding import Found, find_recordings, together
from slash_train.prepare import prepare


def _left_out(found: Found, folder: Path) -> dict[str, str]:
    return {str(left.path.relative_to(folder)): left.why for left in found.left_out}


def test_every_format_is_searched_for(tmp_path: Path) -> None:
    names = [
        "a.wav",
        "b.AIF",
        "c.aiff",
        "d.caf",
        "e.opus",
        "f.oga",
        "g.mp2",
        "h.flac",
        "i.m4a",
        "j.mov",
        "k.w64",
        "l.au",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_recordings([tmp_path]).recordings] == sorted(names)


def test_files_named_otherwise_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    for name in ("take", "take.bak", "take 2.1"):
        soundfile.write(tmp_path / name, np.zeros(10), 16_000, format="WAV")
    (tmp_path / "notes.txt").write_text("first take")
    (tmp_path / "picture.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    found = find_recordings([tmp_path])
    assert len(found.recordings) == 3
    assert _left_out(found, tmp_path) == {"notes.txt": "not audio", "picture.webp": "not audio"}


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".trash").mkdir(parents=True)
    for name in ("b.wav", "._b.wav", "deep/.trash/c.wav", "cover.jpg"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    found = find_recordings([tmp_path, tmp_path / "deep" / ".." / "b.wav"])
    assert [path.name for path in found.recordings] == ["b.wav"]
    assert _left_out(found, tmp_path) == {
        "._b.wav": "hidden",
        "cover.jpg": "not audio",
        "deep/.trash": "hidden",
        "gone": "not a plain file",
        "pipe": "not a plain file",
        "deep/../b.wav": f"the same file as {tmp_path}/b.wav",
    }


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.wav").write_bytes(b"")
    (tmp_path / "songs" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "songs" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "songs")
    found = find_recordings([tmp_path / "songs"])
    assert found.recordings == [tmp_path / "songs" / "again" / "a.wav"]
    assert sorted(left.why.partition(" as ")[0] for left in found.left_out) == ["the same folder"] * 2


def test_a_linked_folder_does_not_rename_what_is_there_anyway(tmp_path: Path) -> None:
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes" / "a.wav").write_bytes(b"")
    (tmp_path / "again").symlink_to("takes")
    found = find_recordings([tmp_path])
    assert found.recordings == [tmp_path / "takes" / "a.wav"]
    assert _left_out(found, tmp_path) == {"again": f"the same folder as {tmp_path}/takes"}


def test_a_file_reached_over_two_sources_is_counted_once_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.wav").symlink_to("a.wav")
    found = find_recordings([tmp_path])
    assert found.recordings == [tmp_path / "a.wav"]
    assert _left_out(found, tmp_path) == {"b.wav": f"the same file as {tmp_path}/a.wav"}


def test_a_link_in_a_circle_is_accounted_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(16_000)), 16_000)
    (tmp_path / "b.wav").symlink_to("b.wav")
    (tmp_path / "c").symlink_to("c")
    with pytest.raises(UserError, match=r"b\.wav: "):
        prepare([tmp_path], tmp_path / "out")
    prepare([tmp_path], tmp_path / "out", skip_bad=True)
    (tmp_path / "corpus").symlink_to("corpus")
    with pytest.raises(UserError, match="corpus: was not made by slash prepare, so `force` does not replace it"):
        prepare([tmp_path / "a.wav"], tmp_path / "corpus", force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_searched_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    found = find_recordings([tmp_path])
    assert [str(fault) for fault in found.faults] == [
        f"{tmp_path}/secret: cannot be searched (Permission denied); check its permissions"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_only_be_listed_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "listed" / "takes").mkdir(parents=True)
    (tmp_path / "listed").chmod(0o400)
    found = find_recordings([tmp_path])
    (tmp_path / "listed").chmod(0o700)
    assert [str(fault.subject) for fault in found.faults] == [f"{tmp_path}/listed"]


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(200):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.wav").write_bytes(b"")
    os.chdir(tmp_path)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = find_recordings([Path("d")])
    finally:
        sys.setrecursionlimit(limit)
    assert [path.name for path in found.recordings] == ["a.wav"]


def test_several_faults_are_one_line_that_names_every_file() -> None:
    needs = [UserError(Path(name), "needs PyAV to be read", "pip install it") for name in ("a.m4a", "b.m4a")]
    error = together([*needs, UserError(Path("c.wav"), "holds no audio", "remove it")])
    assert str(error) == (
        "3 files cannot be used: a.m4a, b.m4a: needs PyAV to be read (pip install it); "
        "c.wav: holds no audio (remove it); or pass `skip_bad` to go on without them"
    )
    assert str(together(needs[:1])).endswith("pip install it, or pass `skip_bad` to go on without it")
