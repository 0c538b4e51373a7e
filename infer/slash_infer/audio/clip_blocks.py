"""Reads the clips that are shown and measured, block by block, whatever they say of themselves."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from slash_infer.audio.limits import LOUDEST, RATES, libsndfile_reason
from slash_infer.errors import UserError
from slash_infer.files import open_plain_file

CLIP_BYTES = 1 << 32
"""Of the largest clip that is shown: the most that a WAV file can have."""
CLIP_SECONDS = 24 * 3600.0
"""Of the longest one: a small FLAC file can hold years of silence."""
SAMPLES_PER_READ = 1 << 18
"""Over all channels."""

REMEDY = "make it again or move it away"


class ClipBlocks:
    """A clip opened for reading.

    Args:
        path: for messages.
        file: opened for reading.

    Raises:
        UserError: it has a sample rate that no clip has.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile) -> None:
        self._path, self._file = path, file
        self.rate: int = file.samplerate
        """Sample rate in Hz."""
        if self.rate not in RATES:
            raise UserError(path, f"has a sample rate of {self.rate} Hz, not {RATES[0]} to {RATES[-1]}", REMEDY)

    def __iter__(self) -> Iterator[npt.NDArray[np.float64]]:
        """Yield the mean of the channels, [T], in blocks, up to the real end.

        Raises:
            UserError: it holds no audio, is too long, or is damaged.
        """
        frames = 0
        while True:
            try:
                block = self._file.read(max(1, SAMPLES_PER_READ // self._file.channels), "float64", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise UserError(self._path, f"is not readable audio ({error.error_string})", REMEDY) from None
            if not len(block):
                break
            frames += len(block)
            if frames > CLIP_SECONDS * self.rate:
                raise UserError(self._path, f"is longer than {CLIP_SECONDS / 3600:.0f} hours", REMEDY)
            if not np.abs(block).max() <= LOUDEST:  # catches NaN, too
                block = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0).clip(-LOUDEST, LOUDEST)
            yield block.mean(axis=1)
        if not frames:
            raise UserError(self._path, "holds no audio", REMEDY)


@contextmanager
def open_clip(path: Path, last_seconds: float = math.inf) -> Iterator[ClipBlocks]:
    """Open a clip for reading.

    Args:
        path: the clip.
        last_seconds: how much of its end to read; all if it is shorter.

    Raises:
        UserError: it is not a plain file, is too large, or is not readable audio.
    """
    with open_plain_file(path, "a clip", REMEDY, limit=CLIP_BYTES) as file:
        try:
            opened = soundfile.SoundFile(file.fileno(), closefd=False)
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError for files without a header
            raise UserError(path, f"is not readable audio ({libsndfile_reason(error)})", REMEDY) from None
        with opened:
            blocks = ClipBlocks(path, opened)
            if last_seconds * opened.samplerate < opened.frames:
                opened.seek(opened.frames - round(last_seconds * opened.samplerate))
            yield blocks
