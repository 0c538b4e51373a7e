"""Moves that replace nothing, and exchanges in one step: renameat2, and what comes nearest where there is none."""

import ctypes
import errno
import os
from pathlib import Path

RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
"""Linux's, which not every C library has; None without it."""

_HERE = -100  # AT_FDCWD: paths are relative to the working directory
_NOREPLACE, _EXCHANGE = 1, 2
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def move_new(source: Path, target: Path) -> None:
    """Move a file or directory to a place where nothing is.

    Raises:
        FileExistsError: something is there.
    """
    if _rename(source, target, _NOREPLACE):
        return
    if source.is_dir():
        _move_new_directory(source, target)
    else:
        _move_new_file(source, target)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or directories change places in one step.

    Returns:
        whether the file system can; if not, nothing was done.
    """
    return _rename(one, other, _EXCHANGE)


def _rename(source: Path, target: Path, flag: int) -> bool:
    """Rename with a flag of renameat2; return whether there is such a thing here."""
    if RENAMEAT2 is None:
        return False
    if RENAMEAT2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _move_new_directory(source: Path, target: Path) -> None:
    """Rename: the only thing that this could replace is an empty directory made since the line before."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None


def _move_new_file(source: Path, target: Path) -> None:
    """Give the file its second name, which never replaces, and take the first away."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        target.touch(exist_ok=False)  # takes the name, or fails
        source.replace(target)
    else:
        source.unlink()
