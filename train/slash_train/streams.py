"""The order of the training data: parallel streams of clips, cut into the windows of truncated BPTT.

A clip is a stretch of one recording, at most `clip_seconds` long. Each of the B lanes plays one clip after
another; a step takes one window from every lane. A lane's window either continues its clip, with the state
carried over, or starts one, from the initial state and a history of silence, as generation does.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from slash_infer.codec import Codec
from slash_infer.errors import UserError
from slash_train.config import Preset
from slash_train.corpus import Corpus, Split

NO_TARGET = -100  # PyTorch's cross-entropy ignores this target


@dataclass(frozen=True)
class Clip:
    """A stretch of the corpus, in samples."""

    start: int
    length: int
    recording: str
    """Name of the file it came from."""


@dataclass(frozen=True)
class Window:
    """One step's input for B lanes."""

    codes: npt.NDArray[np.int64]
    """[B, top + T]: history, then the samples to predict. Past a clip's end, silence."""
    targets: npt.NDArray[np.int64]
    """[B, T]: the codes to predict, NO_TARGET past a clip's end."""
    starting: npt.NDArray[np.bool_]
    """[B]: whether the lane's clip starts here."""


def cut_clips(corpus: Corpus, split: Split, clip_seconds: float) -> list[Clip]:
    """Cut every region of a split into clips of equal length, at most `clip_seconds` each."""
    longest = max(1, round(clip_seconds * corpus.sample_rate))
    clips = []
    for recording in corpus.page.recordings:
        for region in (region for region in recording.regions if region.split == split):
            pieces = -(-region.length // longest)
            edges = [region.start + region.length * i // pieces for i in range(pieces + 1)]
            clips += [Clip(a, b - a, recording.name) for a, b in itertools.pairwise(edges)]
    return clips


class WindowReader:
    """Reads windows out of a corpus and quantises them."""

    def __init__(self, corpus: Corpus, codec: Codec, top_frame: int, window: int) -> None:
        self._pcm = corpus.pcm
        self._codec = codec
        self._top = top_frame
        self._window = window

    def read(self, lanes: Sequence[tuple[Clip | None, int]]) -> Window:
        """Return the window at `offset` of each lane's clip; a lane without a clip gets silence and no targets."""
        codes = np.full((len(lanes), self._top + self._window), self._codec.silence, dtype=np.int64)
        targets = np.full((len(lanes), self._window), NO_TARGET, dtype=np.int64)
        for lane, (clip, offset) in enumerate(lanes):
            if clip is None:
                continue
            count = min(self._window, clip.length - offset)
            history = min(self._top, offset)  # nothing from before the clip: its history is silence
            start = clip.start + offset
            heard = self._codec.encode_pcm16(np.asarray(self._pcm[start - history : start + count]))
            codes[lane, self._top - history : self._top + count] = heard
            targets[lane, :count] = heard[history:]
        return Window(codes, targets, np.array([offset == 0 for _, offset in lanes]))


class Position(BaseModel):
    """Where the training data stands: enough to continue exactly there."""

    model_config = ConfigDict(extra="forbid")

    epoch: int = 0
    """Passes over the clips begun, counted from 0."""
    drawn: int = 0
    """Clips handed out in this epoch."""
    lanes: list[tuple[int, int]] = []
    """(clip number, offset in samples) of every lane's next window."""


@dataclass(frozen=True)
class Draw:
    """What the stream hands out for one step."""

    window: Window
    """Of this worker's lanes."""
    samples: int
    """Samples to predict in the lanes of all workers."""
    recordings: tuple[str, ...]
    """The files that the lanes of all workers play."""
    after: Position
    """Where the stream stands once this step is done."""


class TrainingStream:
    """The endless sequence of training windows: clips in a new seeded order every epoch.

    Args:
        corpus: where the clips come from.
        preset: how they are cut, batched and quantised.
        position: where to go on; the beginning when not given.
        lanes: those to read, of all `batch_size`. Every worker keeps account of all of them.

    Raises:
        UserError: the training split has fewer clips than there are lanes, or is shorter than one window.
    """

    def __init__(
        self, corpus: Corpus, preset: Preset, position: Position | None = None, lanes: slice = slice(None)
    ) -> None:
        recipe = preset.training
        self._clips = cut_clips(corpus, "train", recipe.clip_seconds)
        _check_size(corpus, preset, len(self._clips))
        self._reader = WindowReader(corpus, preset.audio.codec, preset.model.top_frame, recipe.window)
        self._window = recipe.window
        self._seed = recipe.seed
        self._lanes = lanes
        self._position = position.model_copy(deep=True) if position else Position()
        self._order = self._shuffled(self._position.epoch)
        if not self._position.lanes:
            self._position.lanes = [(self._draw(), 0) for _ in range(recipe.batch_size)]

    @property
    def position(self) -> Position:
        """Where the stream stands."""
        return self._position.model_copy(deep=True)

    def next(self) -> Draw:
        """Return the next window of the lanes and move on."""
        lanes = self._position.lanes
        playing = [(self._clips[clip], offset) for clip, offset in lanes]
        window = self._reader.read(playing[self._lanes])
        samples = sum(min(self._window, clip.length - offset) for clip, offset in playing)
        for i, (clip, offset) in enumerate(lanes):
            after = offset + self._window
            lanes[i] = (clip, after) if after < self._clips[clip].length else (self._draw(), 0)
        return Draw(window, samples, tuple(sorted({clip.recording for clip, _ in playing})), self.position)

    def _draw(self) -> int:
        """Hand out the next clip of the epoch, beginning a new epoch when all have been."""
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
    """Refuse a corpus that cannot fill the lanes, and say what to lower."""
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
            f"its training split makes {clips} clips of at most {recipe.clip_seconds:g} s, too few for training.batch_size={recipe.batch_size}",
            f"`set` training.batch_size={clips}, lower training.clip_seconds, or add recordings",
        )


def read_once(
    clips: Sequence[Clip], reader: WindowReader, batch: int, window: int
) -> Iterator[tuple[list[int], Window]]:
    """Read every clip exactly once, `batch` clips side by side, the longest clips first.

    Yields:
        the number of each lane's clip in `clips`, and the lanes' windows, all starting or all continuing.
    """
    longest_first = sorted(range(len(clips)), key=lambda i: -clips[i].length)
    for first in range(0, len(clips), batch):
        together = longest_first[first : first + batch]
        for offset in range(0, clips[together[0]].length, window):
            yield together, reader.read([(clips[i] if offset < clips[i].length else None, offset) for i in together])
