"""Errors of the operating system in one line each: the file, what is wrong, and what would help."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slash_infer.errors import UserError

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


def remedy_for(error: OSError, argument: str = "out") -> str:
    """Return what would help where a file cannot be written.

    Args:
        error: the operating system's.
        argument: the caller's argument that says where to write.
    """
    return _REMEDIES.get(error.errno or 0, "choose another `{argument}`").format(argument=argument)


@contextmanager
def naming_errors(out: Path, argument: str = "out", *, inside: Path | None = None) -> Iterator[None]:
    """Say which file it is that cannot be written, and what would help: an error while writing names none.

    Args:
        out: what is written. Errors that name another file stay as they are.
        argument: the caller's argument that says where to write.
        inside: the temporary path that is written to before it is moved to `out`.

    Raises:
        UserError: the operating system reports an error.
    """
    try:
        yield
    except OSError as error:
        named = None if error.filename is None else _as_path(error.filename)
        if named is not None and not (named in (out, *out.parents) or (inside and named.is_relative_to(inside))):
            raise
        raise UserError(out, f"cannot be written ({error.strerror or error})", remedy_for(error, argument)) from error


def _as_path(name: object) -> Path | None:
    """Return the path that an error names; None where it is the number of an open file."""
    return (
        Path(name if isinstance(name, str) else name.decode(errors="surrogateescape"))
        if isinstance(name, str | bytes)
        else None
    )
