"""Reads plain files only, of a stated size, without waiting for a pipe or a device that stands in their place."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from slash_infer.errors import UserError


def real_path(path: Path) -> Path:
    """Return the absolute path without links. Unlike `Path.resolve`, it takes links in a circle as they are."""
    return Path(os.path.realpath(path))


def open_plain_file(path: Path, what: str, remedy: str, *, limit: int) -> BinaryIO:
    """Open a plain file for reading, without waiting for a pipe or a device that stands in its place.

    Args:
        path: the file.
        what: what the file should be, for messages: "a corpus", for example.
        remedy: what to do if it is something else, for messages.
        limit: the most bytes that it may have.

    Raises:
        UserError: it is not a plain file, or it is larger than `limit`.
        OSError: it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        if path.is_socket() or path.is_char_device() or path.is_block_device():  # which need not open at all
            raise UserError(path, f"cannot be read as {what} (not a plain file)", remedy) from None
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(path, f"cannot be read as {what} (not a plain file)", remedy)
        if status.st_size > limit:
            raise UserError(
                path, f"cannot be read as {what} ({status.st_size:,} bytes, and {limit:,} are the most)", remedy
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
