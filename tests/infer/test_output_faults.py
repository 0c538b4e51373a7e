"""What cannot be written is said in one line, with a remedy; files and folders have the modes that a umask leaves."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from slash_infer.errors import UserError
from slash_infer.files import (
    atomic_directory,
    atomic_file,
    check_directory_output,
    check_file_output,
    read_json,
    write_json,
)


def _fill(part: Path) -> None:
    """Write a file where the output is made, or in it."""
    (part / "kept" if part.is_dir() else part).write_text("ours")


def test_places_that_no_output_can_have_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for out, says in (
        (Path("x" * 300), "cannot be written .File name too long.; choose a shorter name"),
        (Path(os.fsdecode(b"caf\xe9.wav")), "is not a name in UTF-8; choose another `out`"),
        (Path("file", "deep", "down"), "file is a file, not a folder; choose another `out`"),
        (Path(), "already exists"),
        (Path(".."), "already exists"),
        (Path("/"), "already exists"),
    ):
        with pytest.raises(UserError, match=says):
            check_file_output(out, force=True)
        with pytest.raises(UserError, match=says):
            check_directory_output(out, force=True, metadata="made.json", made_by="a test")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("make", [atomic_file, atomic_directory])
def test_the_longest_name_is_no_hindrance(tmp_path: Path, make: Any) -> None:
    for name in ("x" * 255, "\u00e4" * 127):
        with make(tmp_path / name) as part:
            _fill(part)
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device); make room, or choose another `out`"),
        (errno.EDQUOT, "Disk quota exceeded); make room, or choose another `out`"),
        (errno.EIO, "Input/output error); check the disk, or choose another `out`"),
        (errno.EROFS, "Read-only file system); make it writable, or choose another `out`"),
        (errno.ESTALE, "Stale file handle); choose another `out`"),
    ],
)
def test_an_error_that_names_no_file_is_the_outputs(tmp_path: Path, number: int, remedy: str) -> None:
    for make in (atomic_file, atomic_directory):
        with pytest.raises(UserError) as raised, make(tmp_path / "out") as part:
            _fill(part)
            raise OSError(number, os.strerror(number))
        assert str(raised.value) == f"{tmp_path / 'out'}: cannot be written ({remedy}"
        with pytest.raises(FileNotFoundError, match=r"recording\.wav"), make(tmp_path / "out"):
            (tmp_path / "recording.wav").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_grows_too_large_is_named(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError) as raised, atomic_directory(tmp_path / "out") as part:
            (part / "small").write_bytes(bytes(100))
            write_json(part / "inner.json", {"long": "x" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(raised.value).startswith(f"{tmp_path / 'out' / 'inner.json'}: cannot be written (File too large); ")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    """On a disk of its own, of a megabyte."""
    program = """
import os, sys; from pathlib import Path; from slash_infer.files import *; from slash_infer.errors import UserError
out = Path(sys.argv[1], "out.json"); write_json(out, {"old": 1})
try: write_json(out, {"new": "x" * 2_000_000})
except UserError as error: print(error)
print(os.listdir(sys.argv[1]), out.read_text())
"""
    script = 'mount -t tmpfs -o size=1m tmpfs "$2" && exec "$0" -c "$1" "$2"'
    within = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, sys.executable, program, str(tmp_path)]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    done = subprocess.run(within, capture_output=True, text=True, check=False)
    if done.returncode and "Traceback" not in done.stderr:
        pytest.skip(f"no disk of one's own: {done.stderr}")
    said, left = done.stdout.splitlines()[0], done.stdout.splitlines()[1:]
    assert said == (
        f"{tmp_path}/out.json: cannot be written (No space left on device); make room, or choose another `out`"
    )
    assert "\n".join(left).startswith("['out.json'] {") and '"old": 1' in left[1]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_and_folders_have_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_directory(tmp_path / "deep" / "folder") as part:
            (part / "inner").mkdir(mode=0o700)
            save_file({"weights": torch.zeros(3)}, part / "inner" / "private.safetensors")
            (part / "plain").touch()
        with atomic_file(tmp_path / "file.safetensors") as part:
            save_file({"weights": torch.zeros(3)}, part)
        write_json(tmp_path / "file.json", {})
        write_json(tmp_path / "file.json", {"replaced": True})
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_json_holds_what_paths_hold_and_no_nan(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "names.json", {"path": name})
    assert read_json(tmp_path / "names.json", "names", "write them again") == {"path": name}
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "numbers.json", {"bits": number})
    assert [path.name for path in tmp_path.iterdir()] == ["names.json"]


def test_what_does_not_exist_is_said_not_to(tmp_path: Path) -> None:
    write_json(tmp_path / "bundle" / "manifest.json", {})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, says in (
        ("bundl", "bundl: does not exist; did you mean .*bundle?"),
        ("nothing", "nothing: does not exist; check the path"),
        ("empty", "empty: is not a bundle .it has no manifest.json.; make one"),
        ("file", "file: is a file, and a bundle is a folder; make one"),
    ):
        with pytest.raises(UserError, match=says):
            read_json(tmp_path / name / "manifest.json", "a bundle", "make one")
