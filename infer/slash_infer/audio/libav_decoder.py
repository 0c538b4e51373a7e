"""Decodes what libsndfile does not read (M4A, WMA, video) with PyAV, if it is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from typing_extensions import override

from slash_infer.audio.decoder import BLOCK_FRAMES, Decoder, Frames
from slash_infer.errors import UserError, first_line

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler

COUNTING = {"mov", "asf", "wav", "ape", "wv", "tta"}  # containers whose headers say how long the audio is
REMEDY = "pip install 'slash-audio[decode]'"


class LibavDecoder(Decoder):
    """Decodes the first audio stream of a file.

    Args:
        path: for messages.
        file: opened for reading.

    Raises:
        UserError: PyAV is not installed, or the file has no sound that it can decode.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        try:
            import av
        except ModuleNotFoundError:
            raise UserError(path, "needs PyAV to be read", REMEDY) from None
        self._av, self._path = av, path
        self.remarks = []
        file.seek(0)
        try:  # a playlist must not open other files, or addresses
            self._container = av.open(
                _Seekable(file), "r", metadata_errors="ignore", options={"protocol_whitelist": "none"}
            )
        except (av.FFmpegError, OSError) as error:
            raise _unreadable(path, error) from None
        if not self._container.streams.audio:
            raise UserError(path, "holds no sound", "remove it")
        self._stream = self._container.streams.audio[0]
        if len(self._container.streams.audio) > 1:
            self.remarks.append(f"has {len(self._container.streams.audio)} sound tracks; the first is taken")
        self._decoded = self._decode()
        first = next(self._decoded, None)
        if first is None:
            raise UserError(path, "holds no audio that can be decoded", "repair or remove it")
        self._first = first
        self.rate = int(first.sample_rate)
        self.channels = int(first.layout.nb_channels)
        self.counted = self._count()

    @override
    def blocks(self) -> Iterator[Frames]:
        resampler = self._av.AudioResampler(format="flt", layout=self._first.layout, rate=self.rate)
        pending: list[Frames] = []
        frame: AudioFrame | None = self._first
        while frame is not None:
            if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
                raise UserError(self._path, "changes its sample rate or channels on the way", "split it there")
            pending += self._resampled(resampler, frame)
            if sum(map(len, pending)) >= BLOCK_FRAMES:
                yield np.concatenate(pending)
                pending = []
            frame = next(self._decoded, None)
        pending += self._resampled(resampler, None)
        if pending:
            yield np.concatenate(pending)

    def _decode(self) -> "Iterator[AudioFrame]":
        """Decode packet by packet; leave out those that are damaged."""
        damaged = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except self._av.error.InvalidDataError:
                    damaged += 1
                    continue
                yield from frames
        except self._av.FFmpegError as error:
            self.remarks.append(f"cannot be decoded to its end ({error.strerror})")
        if damaged:
            self.remarks.append(f"has {damaged} damaged packets, which are left out")

    def _resampled(self, resampler: "AudioResampler", frame: "AudioFrame | None") -> list[Frames]:
        """Return a frame as floats, interleaved; None for what is left at the end."""
        try:
            parts = [part.to_ndarray().reshape(-1, self.channels) for part in resampler.resample(frame)]
        except (self._av.FFmpegError, ValueError) as error:  # a damaged header may have any number in it
            raise _unreadable(self._path, error) from None
        return [np.asarray(part, np.float32) for part in parts]

    def _count(self) -> float | None:
        names = set(self._container.format.name.split(","))
        if self._stream.duration is None or self._stream.time_base is None or not names & COUNTING:
            return None
        return float(self._stream.duration * self._stream.time_base * self.rate)


class _Seekable:
    """A file for PyAV, which prints what `seek` raises: in damaged files, libav goes to places that are not there."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._file = file.read, file.tell, file

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset`; return the position, or -1, which libav takes for an error."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _unreadable(path: Path, error: Exception) -> UserError:
    why = getattr(error, "strerror", None) or first_line(error)
    return UserError(path, f"is not readable audio ({why})", "repair or remove it")
