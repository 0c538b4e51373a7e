"""Finds the longest stretch of a clip that is nearly a stretch of some recording.

Frames are compared by their spectral shape: the levels of the bands, no less than 30 dB under the loudest, without
their mean. A gain does not change it, and the noise of 8-bit mu-law hardly does. Two frames are alike if their shapes
are within TOLERANCE_DB. The recordings' frames are a quarter of a hop apart, so that some are within 4 ms of the
clip's.

A copy is a run of frames of the clip that are like as many of the recording, in step, with exceptions, as a frame on
an attack differs within 4 ms: every frame that is alike adds 1 to the run's score, and every other one, silent ones
among them, takes 2; the run with the highest score is the copy (as in the local alignment of Smith & Waterman 1981,
without gaps).
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
GAIN, LOSS = 1, 2
"""What frames that are alike add to a run's score, and others take."""
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
    """Follows every diagonal of the table of frames, the clips' and a recording's, column by column.

    Args:
        shapes: of the frames of every clip, [n, BANDS].
    """

    def __init__(self, shapes: list[Float32]) -> None:
        self._shapes = np.concatenate(shapes)
        self._starts = np.cumsum([0, *map(len, shapes[:-1])])
        self._best = np.zeros(len(shapes), np.int32)
        self.found: list[Copy | None] = [None] * len(shapes)

    def through(self, recording: Source) -> None:
        """Search a recording for longer copies."""
        of_phases = [_Runs(len(self._shapes), self._starts) for _ in range(PHASES)]
        columns = max(1, ENTRIES // len(self._shapes))
        seen = 0
        for shapes in _recording_shapes(recording):
            for phase, runs in enumerate(of_phases):
                in_phase = shapes[phase::PHASES]
                for first in range(0, len(in_phase), columns):
                    for offset, alike in enumerate(_alike(in_phase[first : first + columns], self._shapes)):
                        runs.extend(alike)
                        self._keep(runs, recording.name, seen + phase + PHASES * (first + offset))
            seen += len(shapes)

    def _keep(self, runs: "_Runs", name: str, column: int) -> None:
        """Note the runs with the highest score in their clip so far. `column` counts quarters of a hop."""
        best = np.maximum.reduceat(runs.scores, self._starts)
        for clip in np.flatnonzero(best > self._best):
            start = int(self._starts[clip])
            last = int(runs.scores[start : self._starts[clip + 1] if clip + 1 < len(self._starts) else None].argmax())
            length = int(runs.lengths[start + last])
            self._best[clip] = best[clip]
            self.found[clip] = Copy(
                seconds=((length - 1) * HOP + FRAME) / RATE,
                start=(last - length + 1) * HOP / RATE,
                recording=name,
                recording_start=(column - (length - 1) * PHASES) * (HOP // PHASES) / RATE,
            )


class _Runs:
    """The best run that ends in each frame of the clips, and in the newest frame of a recording in one phase.

    Args:
        frames: of all clips.
        starts: the first frame of every clip.
    """

    def __init__(self, frames: int, starts: npt.NDArray[np.int64]) -> None:
        self._starts = starts
        self.scores = np.zeros(frames, np.int32)
        """0 where there is no run."""
        self.lengths = np.zeros(frames, np.int32)

    def extend(self, alike: npt.NDArray[np.bool_]) -> None:
        """Go on to the recording's next frame; `alike` says which frames of the clips are like it."""
        gained = np.where(alike, GAIN, -LOSS).astype(np.int32)
        self.scores = np.maximum(self._shifted(self.scores) + gained, 0)
        self.lengths = np.where(self.scores > 0, self._shifted(self.lengths) + 1, 0).astype(np.int32)

    def _shifted(self, of_frames: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return what was at the frame before; 0 at the first frame of a clip."""
        shifted = np.empty_like(of_frames)
        shifted[1:] = of_frames[:-1]
        shifted[self._starts] = 0
        return shifted


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
