"""Raw 16-bit PCM into a pipe, and the WAV header to put before it."""

import struct
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_infer.audio.sinks import Sink
from slash_infer.codec import to_pcm16

ENDLESS = 2**32 - 1  # the size in a WAV header when the length is unknown


class PcmStream(Sink):
    """16-bit little-endian mono PCM, written to a pipe. `write` raises BrokenPipeError when nobody reads any more.

    Args:
        pipe: a binary stream.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    @override
    def write(self, samples: npt.NDArray[np.float32]) -> None:
        self._pipe.write(to_pcm16(samples).astype("<i2").tobytes())
        self._pipe.flush()


def wav_header(sample_rate: int, samples: int | None) -> bytes:
    """Return the header of a mono 16-bit WAV file: RIFF with one `fmt ` and one `data` chunk.

    (Multimedia Programming Interface and Data Specifications 1.0, 1991.)

    Args:
        sample_rate: in Hz.
        samples: how many follow; None if that is unknown. The header then holds the largest size there is, which
            players take to mean a stream without an end.
    """
    room = ENDLESS - 36
    data = room if samples is None else min(2 * samples, room)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", data + 36, b"WAVE") + form + struct.pack("<4sI", b"data", data)
