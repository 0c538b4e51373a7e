"""Appending to a file: all of what is to be appended, or nothing of it."""

import os
from io import FileIO


def append(file: FileIO, content: bytes) -> None:
    """Append to a file without a buffer.

    Raises:
        OSError: the disk is full, or cannot be written to. The file is as it was.
    """
    before = file.seek(0, os.SEEK_END)
    try:
        while content:
            content = content[file.write(content) :]
    except OSError:
        file.truncate(before)
        raise
