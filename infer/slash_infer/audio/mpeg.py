"""Finds the frames of MPEG audio (MP3, MP2, MP1) in a file, by their headers (ISO/IEC 11172-3, 13818-3)."""

import struct
from typing import BinaryIO, NamedTuple

_KBITS = {  # by (MPEG 1 or not, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # of MPEG 1; halved in 2, quartered in 2.5
_CHUNK = 1 << 20
LONGEST_FRAME = 2881  # bytes: MPEG 2.5, layer 2, 160 kbit/s, 8 kHz, padded


class FrameHeader(NamedTuple):
    """What one frame has in common with its neighbours, and its length."""

    version: int
    layer: int
    rate: int
    """In Hz."""
    length: int
    """In bytes."""


def frame_header(data: bytes, position: int) -> FrameHeader | None:
    """Return the header at `position` of `data`; None if there is none."""
    if position + 4 > len(data):
        return None
    (bits,) = struct.unpack_from(">I", data, position)
    version, layer, kbits, rate = (bits >> 19) & 3, 4 - ((bits >> 17) & 3), (bits >> 12) & 15, (bits >> 10) & 3
    if bits >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in {0, 15} or rate == 3:
        return None
    first = version == 3
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits_per_second = 1000 * _KBITS[first, layer][kbits - 1]
    padding = (bits >> 9) & 1
    if layer == 1:
        length = 4 * (12 * bits_per_second // hertz + padding)
    else:
        length = (144 if first or layer == 2 else 72) * bits_per_second // hertz + padding
    return FrameHeader(version, layer, hertz, length)


def find_frames(file: BinaryIO, start: int, end: int, count: int) -> int | None:
    """Return the first position from `start` on where `count` frames follow one another; None if there is none."""
    overlap = count * LONGEST_FRAME + 4
    while start < end:
        file.seek(start)
        data = file.read(min(_CHUNK + overlap, end - start))
        if not data:
            return None
        found = _find(data, count, min(len(data), _CHUNK))
        if found is not None:
            return start + found
        start += _CHUNK
    return None


def _find(data: bytes, count: int, before: int) -> int | None:
    position = data.find(b"\xff")
    while 0 <= position < before:
        if _frames_from(data, position, count):
            return position
        position = data.find(b"\xff", position + 1)
    return None


def _frames_from(data: bytes, position: int, count: int) -> bool:
    kinds = set()
    for _ in range(count):
        header = frame_header(data, position)
        if header is None:
            return False
        kinds.add(header[:3])
        position += header.length
    return len(kinds) == 1
