"""Finds the longest stretch of a clip that is nearly a stretch of some recording.

Frames are compared by their spectral shape: the levels of the bands, no less than 30 dB under the loudest, without
their mean. A gain does not change it, and the noise of 8-bit mu-law hardly does. A copy is a run of frames of the
clip that are all within TOLERANCE_DB of as many frames of the recording, in step; a silent frame ends it. The
recordings' frames are a quarter of a hop apart, so that some are within 4 ms of the clip's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_infer.audio.ear.bands import BANDS, FRAME, HOP, band_levels, frames_of, gain_of, power, spectra
from slash_infer.audio.ear.source import RATE, Float64, Source
from slash_infer.audio.ear.stillness import SILENT_BAND_DB

Float32 = npt.NDArray[np.float32]

PHASES = 4
"""Frames of a recording for each hop of a clip."""
SHAPE_DB = 30.0
"""Range of a spectral shape: mu-law's noise is 38 dB under the signal, in all bands together."""
TOLERANCE_DB = 3.0
"""Root mean square over the bands. Copies through mu-law have 0.3 in the median frame and never more than 2.4."""
ENTRIES = 1 << 22  # of a table of distances
UNLIKE = 1e3  # dB: the shape of silence, which is like nothing, as its sign is another in clips and in recordings


@dataclass(frozen=True)
class Copy:
    """A stretch of a clip that is nearly one of a recording."""

    seconds: float
    """Its length: 0.064 for a single frame."""
    start: float
    """Where it begins in the clip, in seconds."""
    recording: str
    """Name of the recording."""
    recording_start: float
    """Where it begins there, in seconds."""


def longest_copies(clips: Sequence[Source], recordings: Iterable[Source]) -> list[Copy | None]:
    """Return the longest copy in each clip; None where no frame is like any of a recording's.

    Memory grows with the length of the clips (18 MB an hour), not with that of the recordings; time with both.
    """
    shapes = [_clip_shapes(clip) for clip in clips]
    if not shapes:
        return []
    search = _Search(shapes)
    for recording in recordings:
        search.through(recording)
    return search.found


class _Search:
    """Follows every diagonal of the table of distances between the clips' frames and a recording's, column by column.

    Args:
        shapes: of the frames of every clip, [n, BANDS].
    """

    def __init__(self, shapes: list[Float32]) -> None:
        self._shapes = np.concatenate(shapes)
        self._starts = np.cumsum([0, *map(len, shapes[:-1])])
        self._longest = np.zeros(len(shapes), np.int64)
        self.found: list[Copy | None] = [None] * len(shapes)

    def through(self, recording: Source) -> None:
        runs = np.zeros((PHASES, len(self._shapes)), np.int64)  # in each phase, up to each frame of the clips
        columns = max(1, ENTRIES // len(self._shapes))
        seen = 0
        for shapes in _recording_shapes(recording):
            for phase in range(PHASES):
                of_phase = shapes[phase::PHASES]
                for first in range(0, len(of_phase), columns):
                    alike = _alike(of_phase[first : first + columns], self._shapes)
                    for offset in range(len(alike)):
                        runs[phase] = self._extended(runs[phase], alike[offset])
                        self._keep(runs[phase], recording.name, seen + phase + PHASES * (first + offset))
            seen += len(shapes)

    def _extended(self, runs: npt.NDArray[np.int64], alike: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the lengths of the runs that end in the next column."""
        longer = np.empty_like(runs)
        longer[1:] = runs[:-1]
        longer[self._starts] = 0
        longer += 1
        longer *= alike
        return longer

    def _keep(self, runs: npt.NDArray[np.int64], name: str, column: int) -> None:
        """Note the runs that are the longest of their clip so far. `column` counts quarters of a hop."""
        longest = np.maximum.reduceat(runs, self._starts)
        for clip in np.flatnonzero(longest > self._longest):
            length, start = int(longest[clip]), int(self._starts[clip])
            stop = int(self._starts[clip + 1]) if clip + 1 < len(self._starts) else len(runs)
            last = int(runs[start:stop].argmax())
            self._longest[clip] = length
            self.found[clip] = Copy(
                seconds=((length - 1) * HOP + FRAME) / RATE,
                start=(last - length + 1) * HOP / RATE,
                recording=name,
                recording_start=(column - (length - 1) * PHASES) * (HOP // PHASES) / RATE,
            )


def _alike(some: Float32, others: Float32) -> npt.NDArray[np.bool_]:
    """Return which shapes are alike, [some, others]."""
    products = some @ others.T
    squares = (some**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1) - 2 * products
    return np.asarray(squares <= BANDS * TOLERANCE_DB**2)


def _clip_shapes(clip: Source) -> Float32:
    """Return the shapes of a clip's frames, [n, BANDS]."""
    gain = gain_of(power(clip))
    return np.concatenate([_shapes(gain * frames, UNLIKE) for frames in frames_of(clip)])


def _recording_shapes(recording: Source) -> Iterator[Float32]:
    """Yield the shapes of a recording's frames, a quarter of a hop apart, [n, BANDS]."""
    gain = gain_of(power(recording))
    for frames in frames_of(recording, HOP // PHASES):
        yield _shapes(gain * frames, -UNLIKE)


def _shapes(frames: Float64, silence: float) -> Float32:
    """Return the spectral shapes of frames, [n, BANDS]; `silence` in place of the shapes of silent ones."""
    levels = band_levels(spectra(frames))
    loudest = levels.max(axis=1, keepdims=True)
    heard = np.maximum(levels, loudest - SHAPE_DB)
    return np.where(loudest > SILENT_BAND_DB, heard - heard.mean(axis=1, keepdims=True), silence).astype(np.float32)
