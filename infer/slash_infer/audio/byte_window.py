"""A part of a file as a decoder is to see it, which need not be as it is."""

import os
from collections.abc import Mapping
from typing import BinaryIO


class ByteWindow:
    """A seekable view of a file, for `soundfile.SoundFile`.

    An error of the disk is kept rather than raised: soundfile calls these methods from C, where exceptions are lost.

    Args:
        file: opened for reading.
        start: where the view begins.
        end: where it ends.
        patches: bytes that stand in place of the file's, by their positions in the file.
        pretended: how many times longer than it is the view says to be. What lies beyond its end reads as zeros after
            a seek to there, and as the end of the file otherwise.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        end: int,
        patches: Mapping[int, bytes] | None = None,
        pretended: int = 1,
    ) -> None:
        self._file, self._start, self._length = file, start, end - start
        self._patches, self._pretended = patches or {}, pretended
        self._position = 0
        self.error: OSError | None = None
        """The error of the disk that reading met, if any."""

    @property
    def position(self) -> int:
        """The next byte to read, as a position in the file."""
        return self._start + min(self._position, self._length)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, counted as by `io.IOBase.seek`."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length * self._pretended}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in the view."""
        return self._position

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end."""
        if self._position > self._length:
            self._position += count
            return bytes(count)
        first = self._start + self._position
        try:
            self._file.seek(first)
            data = self._file.read(min(count, self._length - self._position))
        except OSError as error:
            self.error = error
            return b""
        self._position += len(data)
        return self._patched(first, data)

    def _patched(self, first: int, data: bytes) -> bytes:
        for place, patch in self._patches.items():
            low, high = max(place, first), min(place + len(patch), first + len(data))
            if low < high:
                data = data[: low - first] + patch[low - place : high - place] + data[high - first :]
        return data
