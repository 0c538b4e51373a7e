"""Locks that a process holds for as long as it lives, however it ends (flock)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""How a lock file is opened. NFS locks nothing that is not open for writing."""

LOCK_ENDING = ".lock"
LONGEST_NAME = 255  # bytes of a file's name, on all common file systems


def hidden_beside(path: Path, ending: str) -> Path:
    """Return `.NAME<ending>` beside `path`, with as much of its name as there is room for."""
    return path.parent / f".{shortened(path.name, ending)}{ending}"


def shortened(name: str, ending: str) -> str:
    """Return as much of a name as `hidden_beside` takes."""
    return os.fsdecode(os.fsencode(name)[: LONGEST_NAME - 1 - len(ending)])


def try_lock(handle: int, *, where_there_are_none: bool) -> bool:
    """Lock an open file unless another process has.

    Args:
        handle: of the file.
        where_there_are_none: what to return on a file system without locks.

    Returns:
        whether this process has it now.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return where_there_are_none
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `.NAME.lock` beside `path` during the body, waiting for it as long as another process has it."""
    lock = hidden_beside(path, LOCK_ENDING)
    while True:
        handle = os.open(lock, LOCK_FILE | os.O_CREAT, 0o666)
        try:
            _wait_for(handle)
            if not is_at(handle, lock):  # the process that had it has removed it
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _wait_for(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # no locks here: what is left are moves that replace nothing
        return
