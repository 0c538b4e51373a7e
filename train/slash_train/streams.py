"""The order of the training data: parallel streams of clips, cut into the windows of truncated BPTT.

A clip is a part of one recording, at most `clip_seconds` long. Each of the B lanes reads one clip after another, and
a step takes one window from every lane. A window either continues its lane's clip, with the RNN state carried over,
or starts a new one, from the initial state and a history of silence, as generation does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from slash_infer.codec import Codec
from slash_infer.errors import UserError
from slash_train.augmentation import Augmentation, draw_augmentation
from slash_train.clips import Clip, Pcm, cut_clips
from slash_train.config import Preset, TrainingConfig
from slash_train.corpus import Corpus
from slash_train.stored import Natural

NO_TARGET = -100  # PyTorch's cross-entropy ignores this target


@dataclass(frozen=True)
class Window:
    """The input of one step for B lanes."""

    codes: npt.NDArray[np.int64]
    """[B, C + T]: the context, then the samples to predict; silence past the end of a clip."""
    targets: npt.NDArray[np.int64]
    """[B, T]: the codes to predict; NO_TARGET past the end of a clip."""
    starting: npt.NDArray[np.bool_]
    """[B]: whether the lane starts a new clip with this window."""


class WindowReader:
    """Reads windows from clips and encodes them.

    Args:
        codec: turns PCM into codes.
        context: codes in front of each window.
        window: T, samples per window.
    """

    def __init__(self, codec: Codec, context: int, window: int) -> None:
        self._codec = codec
        self._context = context
        self._window = window

    def read(self, lanes: Sequence[tuple[Pcm | None, int]]) -> Window:
        """Return the window at `offset` of each lane's clip; a lane without a clip gets silence and no targets."""
        codes = np.full((len(lanes), self._context + self._window), self._codec.silence, dtype=np.int64)
        targets = np.full((len(lanes), self._window), NO_TARGET, dtype=np.int64)
        for lane, (clip, offset) in enumerate(lanes):
            if clip is None:
                continue
            count = min(self._window, len(clip) - offset)
            before = min(self._context, offset)  # what comes before a clip is silence, whatever the recording holds
            encoded = self._codec.encode_pcm16(np.asarray(clip[offset - before : offset + count]))
            codes[lane, self._context - before : self._context + count] = encoded
            targets[lane, :count] = encoded[before:]
        return Window(codes, targets, np.array([offset == 0 for _, offset in lanes]))


class PositionError(ValueError):
    """A position is not in the corpus."""


class LanePosition(NamedTuple):
    """Where one lane is: at `offset` samples of the clip that is number `place` in the order of `epoch`."""

    epoch: Natural
    place: Natural
    offset: Natural


class Position(BaseModel):
    """A position in the training data, sufficient to continue exactly there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epoch: Natural = 0
    """Number of the current pass over the clips, from 0."""
    drawn: Natural = 0
    """Clips of this epoch that lanes have started."""
    lanes: list[LanePosition] = []
    """The next window of every lane."""


@dataclass(frozen=True)
class Draw:
    """The data of one step."""

    window: Window
    """The windows of this worker's lanes."""
    samples: int
    """Samples to predict, over the lanes of all workers."""
    recordings: tuple[str, ...]
    """Names of the recordings read, over the lanes of all workers."""
    after: Position
    """Position of the stream after this step."""


@dataclass(frozen=True)
class _Playing:
    """What a lane plays."""

    clip: Clip
    augmentation: Augmentation
    pcm: Pcm | None
    """int16 [length]; None in lanes of other workers."""

    @property
    def length(self) -> int:
        return self.augmentation.length(self.clip.length)


class TrainingStream:
    """The endless sequence of training windows. Each epoch shuffles the clips anew, with the preset's seed.

    Args:
        corpus: the corpus to read.
        preset: says how to cut, augment, batch and encode the clips.
        position: where to continue; the beginning if not given.
        lanes: the lanes, out of `batch_size`, whose windows to read. The position always covers all lanes.

    Raises:
        UserError: the training split is shorter than a window for each lane.
        PositionError: the position is not in this corpus.
    """

    def __init__(
        self, corpus: Corpus, preset: Preset, position: Position | None = None, lanes: slice = slice(None)
    ) -> None:
        self._recipe = preset.training
        self._pcm = corpus.pcm
        self._clips = _training_clips(corpus, self._recipe)
        self._reader = WindowReader(preset.audio.codec, preset.model.context, self._recipe.window)
        self._own = range(self._recipe.batch_size)[lanes]
        self._position = position.model_copy(deep=True) if position else Position()
        if position is None:
            self._position.lanes = [self._draw() for _ in range(self._recipe.batch_size)]
        self._require_within()
        self._playing = [self._play(i, lane) for i, lane in enumerate(self._position.lanes)]
        for lane, playing in zip(self._position.lanes, self._playing, strict=True):
            if lane.offset >= playing.length:
                raise PositionError(f"a lane is at sample {lane.offset} of a clip that has {playing.length}")

    @property
    def position(self) -> Position:
        """The current position."""
        return self._position.model_copy(deep=True)

    def next(self) -> Draw:
        """Return the next window of every lane and advance."""
        lanes, window = self._position.lanes, self._recipe.window
        read = self._reader.read([(self._playing[i].pcm, lanes[i].offset) for i in self._own])
        samples = sum(
            min(window, playing.length - lane.offset) for playing, lane in zip(self._playing, lanes, strict=True)
        )
        recordings = {playing.clip.recording for playing in self._playing}
        for i, lane in enumerate(lanes):
            after = lane.offset + window
            if after < self._playing[i].length:
                lanes[i] = lane._replace(offset=after)
            else:
                lanes[i] = self._draw()
                self._playing[i] = self._play(i, lanes[i])
        return Draw(read, samples, tuple(sorted(recordings)), self.position)

    def _draw(self) -> LanePosition:
        """Return the beginning of the next clip in the epoch's order; start a new epoch after the last one."""
        position = self._position
        if position.drawn == len(self._clips):
            position.epoch += 1
            position.drawn = 0
        position.drawn += 1
        return LanePosition(position.epoch, position.drawn - 1, 0)

    def _play(self, lane: int, at: LanePosition) -> _Playing:
        clip = self._clips[_order(self._recipe.seed, at.epoch, len(self._clips))[at.place]]
        seed = (self._recipe.seed, at.epoch, at.place)
        augmentation = draw_augmentation(self._recipe.augment_semitones, seed)
        pcm = augmentation.apply(clip.read(self._pcm)) if lane in self._own else None
        return _Playing(clip, augmentation, pcm)

    def _require_within(self) -> None:
        position, clips = self._position, len(self._clips)
        if len(position.lanes) != self._recipe.batch_size:
            raise PositionError(f"it has {len(position.lanes)} lanes and the configuration {self._recipe.batch_size}")
        if position.drawn > clips:
            raise PositionError(f"{position.drawn} clips were drawn, and an epoch has {clips}")
        for lane in position.lanes:
            if lane.place >= clips:
                raise PositionError(f"a lane is in clip {lane.place} of an epoch, which has {clips}")
            if (lane.epoch, lane.place) >= (position.epoch, position.drawn):
                raise PositionError(f"a lane is in clip {lane.place} of epoch {lane.epoch}, which was not drawn yet")


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, clips: int) -> npt.NDArray[np.int64]:
    """Return the numbers of all clips in the order of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(clips)


def _training_clips(corpus: Corpus, recipe: TrainingConfig) -> list[Clip]:
    """Cut the training split into clips as long as the recipe says, or into one for each lane if those are shorter.

    Raises:
        UserError: lanes would get less than a window.
    """
    seconds = recipe.clip_seconds
    clips = cut_clips(corpus, "train", seconds, recipe.longest_pause)
    samples = sum(clip.length for clip in clips)
    if samples < recipe.window * recipe.batch_size:
        raise UserError(
            corpus.path,
            f"its training split has {samples} samples without long pauses, less than a window of {recipe.window} "
            f"for each of {recipe.batch_size} lanes",
            "add recordings, or `overrides` training.batch_size or training.window to lower them",
        )
    while len(clips) < recipe.batch_size:
        seconds = min(0.9 * seconds, samples / recipe.batch_size / corpus.sample_rate)
        clips = cut_clips(corpus, "train", seconds, recipe.longest_pause)
    return clips


def read_once(
    corpus: Corpus, clips: Sequence[Clip], reader: WindowReader, batch: int, window: int
) -> Iterator[tuple[list[int], Window]]:
    """Read every clip exactly once, `batch` clips in parallel, the longest clips first.

    Yields:
        for each lane the index of its clip in `clips`, and the windows of the lanes: all start their clip, or none
        does.
    """
    longest_first = sorted(range(len(clips)), key=lambda i: -clips[i].length)
    for first in range(0, len(clips), batch):
        together = longest_first[first : first + batch]
        played = [clips[i].read(corpus.pcm) for i in together]
        for offset in range(0, len(played[0]), window):
            yield together, reader.read([(pcm if offset < len(pcm) else None, offset) for pcm in played])
