"""The order of the training data: parallel streams of clips, cut into the windows of truncated BPTT.

A clip is a part of one recording, at most `clip_seconds` long. Each of the B lanes reads one clip after another, and
a step takes one window from every lane. A window either continues its lane's clip, with the RNN state carried over,
or starts a new one, from the initial state and a history of silence, as generation does.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from slash_infer.codec import Codec
from slash_infer.errors import UserError
from slash_train.choices import Split
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.stored import Natural

NO_TARGET = -100  # PyTorch's cross-entropy ignores this target


@dataclass(frozen=True)
class Clip:
    """A contiguous part of one recording, in samples of the corpus."""

    start: int
    length: int
    recording: str
    """Name of the recording."""


@dataclass(frozen=True)
class Window:
    """The input of one step for B lanes."""

    codes: npt.NDArray[np.int64]
    """[B, C + T]: the context, then the samples to predict; silence past the end of a clip."""
    targets: npt.NDArray[np.int64]
    """[B, T]: the codes to predict; NO_TARGET past the end of a clip."""
    starting: npt.NDArray[np.bool_]
    """[B]: whether the lane starts a new clip with this window."""


def cut_clips(corpus: Corpus, split: Split, clip_seconds: float) -> list[Clip]:
    """Cut every region of a split into clips of equal length, at most `clip_seconds` each."""
    longest = max(1, round(clip_seconds * corpus.sample_rate))
    clips = []
    for recording in corpus.manifest.recordings:
        for region in (region for region in recording.regions if region.split == split):
            pieces = -(-region.length // longest)
            edges = [region.start + region.length * i // pieces for i in range(pieces + 1)]
            clips += [Clip(a, b - a, recording.name) for a, b in itertools.pairwise(edges)]
    return clips


class WindowReader:
    """Reads windows from a corpus and encodes them.

    Args:
        corpus: the corpus.
        codec: turns PCM into codes.
        context: codes in front of each window.
        window: T, samples per window.
    """

    def __init__(self, corpus: Corpus, codec: Codec, context: int, window: int) -> None:
        self._pcm = corpus.pcm
        self._codec = codec
        self._context = context
        self._window = window

    def read(self, lanes: Sequence[tuple[Clip | None, int]]) -> Window:
        """Return the window at `offset` of each lane's clip; a lane without a clip gets silence and no targets."""
        codes = np.full((len(lanes), self._context + self._window), self._codec.silence, dtype=np.int64)
        targets = np.full((len(lanes), self._window), NO_TARGET, dtype=np.int64)
        for lane, (clip, offset) in enumerate(lanes):
            if clip is None:
                continue
            count = min(self._window, clip.length - offset)
            history = min(self._context, offset)  # what comes before a clip is silence, whatever the recording holds
            start = clip.start + offset
            encoded = self._codec.encode_pcm16(np.asarray(self._pcm[start - history : start + count]))
            codes[lane, self._context - history : self._context + count] = encoded
            targets[lane, :count] = encoded[history:]
        return Window(codes, targets, np.array([offset == 0 for _, offset in lanes]))


class PositionError(ValueError):
    """A position is not in the corpus."""


class Position(BaseModel):
    """A position in the training data, sufficient to continue exactly there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epoch: Natural = 0
    """Number of the current pass over the clips, from 0."""
    drawn: Natural = 0
    """Clips of this epoch that lanes have started."""
    lanes: list[tuple[Natural, Natural]] = []
    """(clip number, offset in samples) of the next window of every lane."""

    def require_within(self, clips: Sequence[Clip], lanes: int) -> None:
        """Check that this is a position in some clips.

        Args:
            clips: the clips of the training split.
            lanes: the number of lanes.

        Raises:
            PositionError: it is not, for the reason it says.
        """
        if len(self.lanes) != lanes:
            raise PositionError(f"it has {len(self.lanes)} lanes and the configuration {lanes}")
        if self.drawn > len(clips):
            raise PositionError(f"{self.drawn} clips were drawn, and an epoch has {len(clips)}")
        for clip, offset in self.lanes:
            if clip >= len(clips):
                raise PositionError(f"a lane is in clip {clip}, and there are {len(clips)}")
            if offset >= clips[clip].length:
                raise PositionError(f"a lane is at sample {offset} of clip {clip}, which has {clips[clip].length}")


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


class TrainingStream:
    """The endless sequence of training windows. Each epoch shuffles the clips anew, with the preset's seed.

    Args:
        corpus: the corpus to read.
        preset: says how to cut, batch and encode the clips.
        position: where to continue; the beginning if not given.
        lanes: the lanes, out of `batch_size`, whose windows to read. The position always covers all lanes.

    Raises:
        UserError: the training split has fewer clips than there are lanes, or is shorter than one window.
        PositionError: the position is not in this corpus.
    """

    def __init__(
        self, corpus: Corpus, preset: Preset, position: Position | None = None, lanes: slice = slice(None)
    ) -> None:
        recipe = preset.training
        self._clips = cut_clips(corpus, "train", recipe.clip_seconds)
        _check_size(corpus, preset, len(self._clips))
        self._reader = WindowReader(corpus, preset.audio.codec, preset.model.context, recipe.window)
        self._window = recipe.window
        self._seed = recipe.seed
        self._lanes = lanes
        if position is not None:
            position.require_within(self._clips, recipe.batch_size)
        self._position = position.model_copy(deep=True) if position else Position()
        self._order = self._shuffled(self._position.epoch)
        if not self._position.lanes:
            self._position.lanes = [(self._draw(), 0) for _ in range(recipe.batch_size)]

    @property
    def position(self) -> Position:
        """The current position."""
        return self._position.model_copy(deep=True)

    def next(self) -> Draw:
        """Return the next window of every lane and advance."""
        lanes = self._position.lanes
        current = [(self._clips[clip], offset) for clip, offset in lanes]
        window = self._reader.read(current[self._lanes])
        samples = sum(min(self._window, clip.length - offset) for clip, offset in current)
        for i, (clip, offset) in enumerate(lanes):
            after = offset + self._window
            lanes[i] = (clip, after) if after < self._clips[clip].length else (self._draw(), 0)
        return Draw(window, samples, tuple(sorted({clip.recording for clip, _ in current})), self.position)

    def _draw(self) -> int:
        """Return the number of the next clip in the epoch's order; start a new epoch after the last one."""
        position = self._position
        if position.drawn == len(self._clips):
            position.epoch += 1
            position.drawn = 0
            self._order = self._shuffled(position.epoch)
        position.drawn += 1
        return int(self._order[position.drawn - 1])

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._clips))


def _check_size(corpus: Corpus, preset: Preset, clips: int) -> None:
    """Raise a `UserError` if the corpus cannot fill the lanes; it says what to lower."""
    recipe, length = preset.training, corpus.length("train")
    if length < recipe.window:
        raise UserError(
            corpus.path,
            f"its training split has {length} samples, less than one window of {recipe.window}",
            "add recordings or lower training.window",
        )
    if clips < recipe.batch_size:
        raise UserError(
            corpus.path,
            f"its training split makes {clips} clips of at most {recipe.clip_seconds:g} s, too few for "
            f"training.batch_size={recipe.batch_size}",
            f"`overrides` training.batch_size={clips}, lower training.clip_seconds, or add recordings",
        )


def read_once(
    clips: Sequence[Clip], reader: WindowReader, batch: int, window: int
) -> Iterator[tuple[list[int], Window]]:
    """Read every clip exactly once, `batch` clips in parallel, the longest clips first.

    Yields:
        for each lane the index of its clip in `clips`, and the windows of the lanes: all start their clip, or none
        does.
    """
    longest_first = sorted(range(len(clips)), key=lambda i: -clips[i].length)
    for first in range(0, len(clips), batch):
        together = longest_first[first : first + batch]
        for offset in range(0, clips[together[0]].length, window):
            yield together, reader.read([(clips[i] if offset < clips[i].length else None, offset) for i in together])
