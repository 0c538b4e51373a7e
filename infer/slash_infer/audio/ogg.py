"""Finds where the streams of an Ogg file begin: recordings of radio hold several, one after another (RFC 3533)."""

import struct
from typing import BinaryIO, NamedTuple

_MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
_BEGINS, _ENDS = 2, 4  # flags of a page
_CHUNK = 1 << 16


class Links(NamedTuple):
    """The streams of an Ogg file that follow one another."""

    starts: list[int]
    """Where each begins, in bytes."""
    ended: bool
    """Whether the last one has an end."""
    damaged: bool
    """Whether there are bytes between pages."""


def find_links(file: BinaryIO, size: int) -> Links:
    """Return the links of the chain in a file of `size` bytes. Pages are found again after damage."""
    starts: list[int] = []
    position, beginnings, ended, damaged = 0, False, False, False
    while position + _HEADER.size <= size:
        file.seek(position)
        header = file.read(_HEADER.size)
        if header[:4] != _MAGIC or len(header) < _HEADER.size:
            found = _next_page(file, position + 1)
            if found is None:
                break
            position, damaged = found, True
            continue
        flags, segments = header[5], header[-1]
        if flags & _BEGINS and not beginnings:
            starts.append(position)
        beginnings, ended = bool(flags & _BEGINS), bool(flags & _ENDS)
        position += _HEADER.size + segments + sum(file.read(segments))
    return Links(starts or [0], ended and position <= size, damaged)


def _next_page(file: BinaryIO, position: int) -> int | None:
    while True:
        file.seek(position)
        data = file.read(_CHUNK)
        found = data.find(_MAGIC)
        if found >= 0:
            return position + found
        if len(data) < len(_MAGIC):
            return None
        position += len(data) - len(_MAGIC) + 1
