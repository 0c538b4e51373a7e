"""Finds the audio in WAV, AIFF, CAF and AU files whose headers miscount it, as a recorder without power leaves them.

libsndfile believes the size in the header where it is too small. Here the chunks are followed to the end of the file:
if what comes after the audio is not a chunk, it is audio.
"""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

OPEN = 0xFFFFFFFF  # a 32-bit size that means: up to the end
PADDING = 4096  # bytes after the audio that may be anything
MOST_CHUNKS = 10_000  # looked at in one recording: a hostile file could have a hundred million empty ones
_CHUNK = 1 << 20
_METADATA = (  # chunks that may be cut off by the end of the file
    b"LIST bext id3  ID3  cue  smpl inst fact JUNK junk PAD  PEAK iXML axml cart acid DISP _PMX chna MARK COMT NAME "
    b"AUTH ANNO APPL info mark midi peak strg umid uuid free ovvw edct"
)


@dataclass(frozen=True)
class Piece:
    """One recording in a file; several may follow one another."""

    start: int
    """Where it begins, in bytes."""
    end: int
    patches: dict[int, bytes] = field(default_factory=dict)
    """The sizes that the header should have, by their positions in the file."""
    counted: float | None = None
    """Share of the audio that the header counts: over 1 if the file was cut off; None if it counts all, or none."""


def find_pieces(file: BinaryIO, size: int) -> list[Piece]:
    """Return the recordings in a file of `size` bytes, with what their headers should say."""
    pieces: list[Piece] = []
    start: int | None = 0
    while start is not None:
        piece, start = _Walk(file, start, size).piece()
        pieces.append(piece)
    return pieces


class _Walk:
    """Follows the chunks of one recording."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        head = self._read(start, 12)
        self._magic, self._form = head[:4], head[8:]
        self._wide: int | None = None  # where RF64 has its 64-bit sizes

    def piece(self) -> tuple[Piece, int | None]:
        """Return the recording, and where the next one begins, if one follows."""
        if self._magic in {b"RIFF", b"RF64", b"BW64"} and self._form == b"WAVE":
            return self._chunks(first=12, header=struct.Struct("<4sI"), data=b"data")
        if self._magic == b"FORM" and self._form in {b"AIFF", b"AIFC"}:
            return self._chunks(first=12, header=struct.Struct(">4sI"), data=b"SSND")
        if self._magic == b"caff":
            return self._chunks(first=8, header=struct.Struct(">4sQ"), data=b"data")
        if self._magic == b".snd":
            return self._au(), None
        return Piece(self._start, self._size), None

    def _chunks(self, *, first: int, header: struct.Struct, data: bytes) -> tuple[Piece, int | None]:
        position, audio, counted, place = self._start + first, 0, 0, 0
        for _ in range(MOST_CHUNKS):
            if position + header.size > self._size:
                break
            name, length = header.unpack(self._read(position, header.size))
            if audio and name == self._magic and first == 12:
                return Piece(self._start, position), position
            body = position + header.size
            if name == b"ds64" and self._magic != b"RIFF":
                self._wide = body
            elif name == data and not audio:
                audio, place = body, position + 4
                counted = length = self._data_length(length)
                if length >= self._size - body:
                    break
            elif not audio and not _printable(name):
                if self._sounds(position):
                    break
                return Piece(self._start, position), None  # room for a recording
            elif audio and not self._is_chunk(name, body, length):
                lost = self._size - position
                if counted == 0 or (lost > PADDING and self._sounds(position)):
                    return self._patched(audio, place, counted, header), None
                break
            position = body + length
            if first == 12 and length % 2 and self._read(position, 1) == b"\0":
                position += 1
        if not audio or counted < self._size - audio:
            return Piece(self._start, self._size), None
        return self._cut_off(audio, place, counted, header), None

    def _data_length(self, length: int) -> int:
        if self._wide is not None and length == OPEN:
            (length,) = struct.unpack("<Q", self._read(self._wide + 8, 8))
        return length

    def _is_chunk(self, name: bytes, body: int, length: int) -> bool:
        return _printable(name) and (body + length <= self._size + 1 or name in _METADATA)

    def _sounds(self, position: int) -> bool:
        """Return whether there is anything but zeros from `position` on: some recorders fill whole blocks."""
        while data := self._read(position, _CHUNK):
            if data.strip(b"\0"):
                return True
            position += len(data)
        return False

    def _patched(self, audio: int, place: int, counted: int, header: struct.Struct) -> Piece:
        there = self._size - audio
        if self._wide is not None:
            patch = {self._wide + 8: struct.pack("<QQ", there, 0)}
        elif header.size == 12:
            patch = {place: struct.pack(">Q", there)}
        else:
            patch = {place: struct.pack(header.format[:1] + "I", min(there, OPEN))}
        return Piece(self._start, self._size, patch, counted / there if there else None)

    def _cut_off(self, audio: int, place: int, counted: int, header: struct.Struct) -> Piece:
        """Return a recording whose header counts all bytes to the end, or more, or leaves their number open."""
        there = self._size - audio
        is_open = counted in {OPEN, (1 << 64) - 1}
        ratio = None if is_open or counted == there or not there else counted / there
        if header.size == 12 and counted > there:  # libsndfile refuses such CAF files
            return Piece(self._start, self._size, {place: struct.pack(">Q", there)}, ratio)
        return Piece(self._start, self._size, {}, ratio)

    def _au(self) -> Piece:
        offset, length = struct.unpack(">II", self._read(self._start + 4, 8).ljust(8, b"\0"))
        there = self._size - self._start - offset
        if there <= 0 or length in {there, OPEN}:
            return Piece(self._start, self._size)
        if length > there or (length and there - length <= PADDING):
            return Piece(self._start, self._size, {}, length / there if length > there else None)
        return Piece(self._start, self._size, {self._start + 8: struct.pack(">I", min(there, OPEN))}, length / there)

    def _read(self, position: int, count: int) -> bytes:
        self._file.seek(position)
        return self._file.read(count)


def _printable(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)
