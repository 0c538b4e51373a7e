"""Plays a clip while it is generated: into a pipe, out of the speakers, into a file, or several of them at once."""

import struct
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from slash_infer.codec import to_pcm16
from slash_infer.sampling.sampler import Sampler

BLOCK_SECONDS = 0.05  # of audio made at once: little enough to be heard soon, enough to be made without haste
ENDLESS = 2**32 - 1  # as the size of a WAV stream that nobody knows the end of


class Sink(Protocol):
    """Somewhere that samples go."""

    def write(self, samples: npt.NDArray[np.float32]) -> None:
        """Take samples in [-1, 1], [T]; wait if there is no room yet."""


def play(
    sampler: Sampler, seconds: float, sinks: Sequence[Sink], *, stop: Callable[[], object] = lambda: False
) -> None:
    """Send the first clip of a sampler to every sink, block by block, for some seconds or until `stop` says so."""
    for block in sampler.stream(seconds, block_seconds=BLOCK_SECONDS):
        for sink in sinks:
            sink.write(block[0])
        if stop():
            break


class PcmStream:
    """16-bit little-endian PCM, written to a pipe.

    Args:
        pipe: where to.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def write(self, samples: npt.NDArray[np.float32]) -> None:
        """As `Sink` says.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self._pipe.write(to_pcm16(samples).astype("<i2").tobytes())
        self._pipe.flush()


def wav_header(sample_rate: int, samples: int | None) -> bytes:
    """Return what comes before the samples of a mono 16-bit WAV file; without a number of them, of an endless stream.

    (RIFF with one `fmt ` and one `data` chunk: Multimedia Programming Interface and Data Specifications 1.0, 1991. A
    stream cannot go back to fill in its size; players take the largest size there is for no size.)
    """
    room = ENDLESS - 36
    data = room if samples is None else min(2 * samples, room)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", data + 36, b"WAVE") + form + struct.pack("<4sI", b"data", data)
