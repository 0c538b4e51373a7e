"""Finds the longest stretch of a clip that is nearly a stretch of some recording.

Frames are compared by their spectral shape: the levels of the bands, no less than 30 dB under the loudest, without
their mean. A gain does not change it, and the noise of 8-bit mu-law hardly does. Two frames are alike if their shapes
are within TOLERANCE_DB. The recordings' frames are a quarter of a hop apart, so that some are within 4 ms of the
clip's.

A copy is a run of frames of the clip that are like as many of the recording, in step, with exceptions, as a frame on
an attack differs within 4 ms: every frame that is alike adds 1 to the run's score, and every other one, silent ones
among them, takes 2; the run with the highest score is the copy (as in the local alignment of Smith & Waterman 1981,
without gaps).

A held note is like many others that are played, or sampled, alike, and says little about what was learned by heart.
So a passage is looked for, too: a copy in which both begin a note, at the same place, after some frames of another
and before some of this one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_infer.audio.ear.bands import BANDS, FRAME, HOP, band_levels, frames_of, gain_of, power, spectra
from slash_infer.audio.ear.onsets import ONSET_DB
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
AROUND = 3
"""What a passage scores before another note begins, and from there on, at least: a tenth of a second alike."""
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


def seconds_of(copy: Copy | None) -> float:
    """Return the length of a copy; 0 for none."""
    return 0.0 if copy is None else copy.seconds


@dataclass(frozen=True)
class Copied:
    """What a clip has of recordings."""

    longest: Copy | None
    """None where no frame is like any of a recording's."""
    passage: Copy | None
    """The longest that goes on from one note to the next; None where none does."""


def longest_copies(clips: Sequence[Source], recordings: Iterable[Source]) -> list[Copied]:
    """Return the longest copies in each clip.

    Memory grows with the length of the clips (18 MB an hour), not with that of the recordings; time with both.
    """
    heard = [_heard(clip, HOP, UNLIKE) for clip in clips]
    if not heard:
        return []
    search = _Search([_joined(frames) for frames in heard])
    for recording in recordings:
        search.through(recording)
    return [Copied(*both) for both in zip(search.longest.found, search.passages.found, strict=True)]


@dataclass(frozen=True)
class _Frames:
    """Consecutive frames of a source."""

    shapes: Float32
    """Of their spectra, [n, BANDS]."""
    begin: npt.NDArray[np.bool_]
    """Whether a note begins, [n]: whether the bands rise from the frame a hop before, as in an onset."""


class _Search:
    """Follows every diagonal of the table of frames, the clips' and a recording's, column by column.

    Args:
        clips: the frames of every clip.
    """

    def __init__(self, clips: list[_Frames]) -> None:
        self._shapes = np.concatenate([clip.shapes for clip in clips])
        self._begin = np.concatenate([_or_beside(clip.begin) for clip in clips])
        self._starts = np.cumsum([0, *(len(clip.shapes) for clip in clips[:-1])])
        self.longest, self.passages = _Best(self._starts), _Best(self._starts)

    def through(self, recording: Source) -> None:
        """Search a recording for longer copies."""
        of_phases = [_Runs(len(self._shapes), self._starts) for _ in range(PHASES)]
        columns = max(1, ENTRIES // len(self._shapes))
        seen = 0
        for frames in _heard(recording, HOP // PHASES, -UNLIKE):
            for phase, runs in enumerate(of_phases):
                shapes, begin = frames.shapes[phase::PHASES], frames.begin[phase::PHASES]
                for first in range(0, len(shapes), columns):
                    for offset, alike in enumerate(_alike(shapes[first : first + columns], self._shapes)):
                        runs.extend(alike, self._begin if begin[first + offset] else None)
                        column = seen + phase + PHASES * (first + offset)
                        self.longest.keep(runs.scores, runs, recording.name, column)
                        if runs.any_passage:
                            self.passages.keep(runs.of_passages(), runs, recording.name, column)
            seen += len(frames.shapes)


class _Best:
    """The runs with the highest score so far, one of each clip.

    Args:
        starts: the first frame of every clip.
    """

    def __init__(self, starts: npt.NDArray[np.int64]) -> None:
        self._starts = starts
        self._scores = np.zeros(len(starts), np.int32)
        self.found: list[Copy | None] = [None] * len(starts)

    def keep(self, scores: npt.NDArray[np.int32], runs: "_Runs", name: str, column: int) -> None:
        """Note the runs that score more than those before. `column` counts quarters of a hop."""
        best = np.maximum.reduceat(scores, self._starts)
        for clip in np.flatnonzero(best > self._scores):
            start = int(self._starts[clip])
            last = int(scores[start : self._starts[clip + 1] if clip + 1 < len(self._starts) else None].argmax())
            length = int(runs.lengths[start + last])
            self._scores[clip] = best[clip]
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
        self._before = np.zeros(frames, np.int32)  # the score before another note began; 0 while none has
        self.any_passage = False
        """Whether another note has begun in any run."""

    def extend(self, alike: npt.NDArray[np.bool_], begin: npt.NDArray[np.bool_] | None) -> None:
        """Go on to the recording's next frame.

        Args:
            alike: which frames of the clips are like it.
            begin: where notes begin in the clips, if one does in the recording's frame.
        """
        gained = np.where(alike, GAIN, -LOSS).astype(np.int32)
        before = self._shifted(self.scores)
        self.scores = np.maximum(before + gained, 0)
        goes_on = self.scores > 0
        self.lengths = np.where(goes_on, self._shifted(self.lengths) + 1, 0).astype(np.int32)
        if self.any_passage:
            self._before = np.where(goes_on, self._shifted(self._before), 0)
        if begin is not None:
            new = begin & goes_on & (before >= AROUND) & (self._before == 0)
            self._before[new] = before[new]
        self.any_passage = bool(self._before.any())

    def of_passages(self) -> npt.NDArray[np.int32]:
        """Return the scores of those runs that go on from one note to the next, 0 for others."""
        return np.where((self._before > 0) & (self.scores >= self._before + AROUND), self.scores, 0)

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


def _or_beside(begin: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where a note begins in a frame or in one beside it: frames of two sources are up to 4 ms out of step."""
    wider = begin.copy()
    wider[1:] |= begin[:-1]
    wider[:-1] |= begin[1:]
    return wider


def _heard(source: Source, hop: int, silence: float) -> Iterator[_Frames]:
    """Yield the frames of a source, some hundred at a time.

    Args:
        source: a clip or a recording.
        hop: samples from one frame to the next; divides HOP.
        silence: in place of the shapes of silent frames.
    """
    gain, before = gain_of(power(source)), np.empty((0, BANDS))
    for frames in frames_of(source, hop):
        levels = band_levels(spectra(gain * frames))
        known = np.concatenate([before, levels])
        rises = np.zeros(len(known))
        rises[HOP // hop :] = np.maximum(known[HOP // hop :] - known[: -HOP // hop], 0).mean(axis=1)
        yield _Frames(_shapes(levels, silence), rises[len(before) :] > ONSET_DB)
        before = known[-HOP // hop :]


def _joined(frames: Iterator[_Frames]) -> _Frames:
    """Return all frames as one."""
    shapes, begin = zip(*((some.shapes, some.begin) for some in frames), strict=True)
    return _Frames(np.concatenate(shapes), np.concatenate(begin))


def _shapes(levels: Float64, silence: float) -> Float32:
    """Return the spectral shapes of frames by the levels of their bands, [n, BANDS]."""
    loudest = levels.max(axis=1, keepdims=True)
    heard = np.maximum(levels, loudest - SHAPE_DB)
    return np.where(loudest > SILENT_BAND_DB, heard - heard.mean(axis=1, keepdims=True), silence).astype(np.float32)
