"""Parts: hidden folders beside an output that hold it while it is made, locked by the process that makes it.

A part is `.NAME.XXXXXXXX.part`, with a lock file and the output in it. The lock goes with the process, however it
ends, so whoever can lock a part knows that nobody is working in it, and may remove it.
"""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slash_infer.files.locks import LOCK_ENDING, LOCK_FILE, hidden_beside, is_at, shortened, try_lock
from slash_infer.files.moves import move_new

LOCK, NEW, OLD = "lock", "new", "old"
"""Names in a part: of its lock, of the output (and its suffix), and of what it replaces, on its way out."""

_ENDING = ".{}.part"
_PART = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part", re.DOTALL)


@contextmanager
def part_beside(out: Path, mode: int = 0o777) -> Iterator[Path]:
    """Make a part beside `out`, and remove it after the body with everything in it.

    Args:
        out: the output to be. Its folder exists.
        mode: of the part, less the umask.
    """
    folder, lock = _make(out, mode)
    try:
        yield folder
    finally:
        with suppress(OSError):  # what is left will be swept
            _remove(folder)
        os.close(lock)


@contextmanager
def scratch_directory(purpose: str) -> Iterator[Path]:
    """Make a folder for temporary files, in the system's place for them, and remove it after the body.

    Args:
        purpose: what for, for its name. What killed processes left for the same purpose is swept.
    """
    place = Path(tempfile.gettempdir(), f"slash-{purpose}")
    sweep([place])
    with part_beside(place, mode=0o700) as part:
        (part / NEW).mkdir()
        yield part / NEW


def is_in_part(path: Path) -> bool:
    """Return whether a path leads into a part."""
    return any(_PART.fullmatch(name) for name in path.parts)


def sweep(outs: Iterable[Path]) -> None:
    """Remove the parts of `outs` that killed processes left. Those of living processes stay, and everything else."""
    by_folder: dict[Path, list[Path]] = {}
    for out in outs:
        by_folder.setdefault(out.parent, []).append(out)
    for folder, inside in by_folder.items():
        parts = {shortened(out.name, _ENDING.format("01234567")): out for out in inside}
        for part, name in _parts(folder):
            if name in parts:
                _sweep_part(part, parts[name])
        locks = {hidden_beside(out, LOCK_ENDING).name for out in inside}
        for lock in [path for path in _entries(folder) if path.name in locks]:
            _sweep_lock(lock)


def sweep_below(root: Path) -> None:
    """Remove the parts that killed processes left anywhere in a folder."""
    for place, inner, _ in os.walk(root):
        for part, name in _parts(Path(place)):
            _sweep_part(part, part.with_name(name))
            if part.name in inner:  # it may have been made since the folder was listed
                inner.remove(part.name)


def _make(out: Path, mode: int) -> tuple[Path, int]:
    """Make a part for `out`; return it and its lock, which holds until it is closed."""
    while True:
        folder = hidden_beside(out, _ENDING.format(secrets.token_hex(4)))
        with suppress(FileExistsError):
            folder.mkdir(mode)
        try:
            lock = os.open(folder / LOCK, LOCK_FILE | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):  # another's, or swept before it had a lock
            continue
        if try_lock(lock, where_there_are_none=True) and is_at(lock, folder / LOCK):
            return folder, lock
        os.close(lock)


def _parts(folder: Path) -> list[tuple[Path, str]]:
    """Return the parts in a folder, with the names of their outputs."""
    found = ((path, _PART.fullmatch(path.name)) for path in _entries(folder))
    return [(path, match["name"]) for path, match in found if match and path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is not there, or may not be looked into."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _sweep_part(part: Path, out: Path) -> None:
    """Remove a part unless a living process has it, or it holds what no part holds.

    If it was killed while a directory was replaced in two steps, between them, the old directory comes back.
    """
    with suppress(OSError):  # somebody else's, or another process is sweeping it
        names = {path.name for path in part.iterdir()}
        if not names:
            part.rmdir()  # killed before it had a lock
        if LOCK not in names or not all(map(_is_ours, names)):
            return
        lock = os.open(part / LOCK, LOCK_FILE)
        try:
            if try_lock(lock, where_there_are_none=False):
                if OLD in names and not os.path.lexists(out):
                    move_new(part / OLD, out)
                _remove(part)
        finally:
            os.close(lock)


def _is_ours(name: str) -> bool:
    """Return whether a file in a part has a name that is given there; the new output may have a part, too."""
    return name in (LOCK, OLD) or name.removeprefix(".").split(".")[0] == NEW


def _sweep_lock(path: Path) -> None:
    """Remove the file of a lock that no living process holds."""
    with suppress(OSError):
        lock = os.open(path, LOCK_FILE)
        try:
            if try_lock(lock, where_there_are_none=False) and is_at(lock, path) and not path.stat().st_size:
                path.unlink()
        finally:
            os.close(lock)


def _remove(part: Path) -> None:
    """Remove a part, its lock last: without it, it would not be known as one."""
    for path in part.iterdir():
        if path.name != LOCK:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    (part / LOCK).unlink(missing_ok=True)
    part.rmdir()
