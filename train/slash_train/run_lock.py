"""One trainer at a time: the lock of a run (flock). The system releases it when its holder ends, however it ends."""

import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slash_infer.errors import UserError
from slash_infer.files.locks import is_at

LOCK = "train.lock"
_HOLDER = re.compile(r"process \d{1,20} on [\w.-]{1,255}")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


@contextmanager
def training_lock(run: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run during the body. It stays with the run where the run is moved.

    Args:
        run: its directory.
        warn: told if the file system has no locks, as some network file systems have none: then nothing is locked.

    Raises:
        UserError: another process trains the run; the message names it and its host.
    """
    path = run / LOCK
    handle = _open_locked(path, warn)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def require_untrained(run: Path) -> None:
    """Check, without leaving anything there, that no process trains a run.

    Args:
        run: its directory, which need not exist.

    Raises:
        UserError: another process trains it; the message names it and its host.
    """
    path = run / LOCK
    if path.exists():
        handle = _open(path)
        try:
            _acquire(handle, path, lambda _: None)
        finally:
            os.close(handle)


def _open_locked(path: Path, warn: Callable[[str], None]) -> int:
    while True:
        handle = _open(path, os.O_CREAT)
        try:
            if _acquire(handle, path, warn):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # of a run that was replaced in the meantime


def _open(path: Path, more: int = 0) -> int:
    handle = os.open(path, _FLAGS | more, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(path, "is not a plain file", "remove it")
    return handle


def _acquire(handle: int, path: Path, warn: Callable[[str], None]) -> bool:
    """Lock an open file; return whether it is still the one at `path`."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(handle, 400, 0).decode("utf-8", "replace")
        holder = _HOLDER.match(written)
        by = holder[0] if holder else "another process"
        raise UserError(path.parent, f"is being trained by {by}", "stop that one, or wait until it is done") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warn(f"{path.parent}: is not locked ({error.strerror}); see to it that no other process trains this run")
    return is_at(handle, path)
