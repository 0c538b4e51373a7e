"""Errors of the operating system in one line each: the file, what is wrong, and what would help."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slash_infer.errors import UserError
from slash_infer.files.parts import is_in_part

_ROOM = "make room, or choose another `{argument}`"
_RIGHTS = "make it writable, or choose another `{argument}`"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "choose an `{argument}` where larger files are allowed",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "check the disk, or choose another `{argument}`",
}


_REMEDIES_FOR_ANY = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files (ulimit)",
}


def any_fault(error: OSError) -> UserError:
    """Return what an error of the operating system says that nothing else has explained."""
    name = error.filename
    subject = os.fsdecode(name) if isinstance(name, str | bytes) else "a file"
    return UserError(subject, str(error.strerror), _REMEDIES_FOR_ANY.get(error.errno or 0, "check the path"))


def remedy_for(error: OSError, argument: str = "out") -> str:
    """Return what would help where a file cannot be written.

    Args:
        error: the operating system's.
        argument: the caller's argument that says where to write.
    """
    return _REMEDIES.get(error.errno or 0, "choose another `{argument}`").format(argument=argument)


@contextmanager
def naming_errors(out: Path, argument: str = "out") -> Iterator[None]:
    """Say which file it is that cannot be written, and what would help: an error while writing names none.

    Args:
        out: what is written, or made in a part beside it first. Errors that name another file stay as they are.
        argument: the caller's argument that says where to write.

    Raises:
        UserError: the operating system reports an error.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the system's
            raise
        if isinstance(error.filename, str | bytes):  # not the number of an open file
            named = Path(os.fsdecode(error.filename))
            if named not in (out, *out.parents) and not is_in_part(named):
                raise
        raise UserError(out, f"cannot be written ({error.strerror})", remedy_for(error, argument)) from error
