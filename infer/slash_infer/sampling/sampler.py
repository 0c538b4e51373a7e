"""Generates a batch of clips: uniforms in, audio out, the clips shared out among players."""

import math
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.sampling.choice import EngineName, PrecisionName, open_engine
from slash_infer.sampling.engine import BatchRunner, Engine
from slash_infer.sampling.generation_state import Float32, Generated, GenerationState, Int32
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.saved_sampler import SavedSampler
from slash_infer.sampling.temperature import Temperature, schedules

PREFILL_STEPS = 1024  # steps of a prime at once: it may be long
LIVE_BLOCK_SECONDS = 0.05  # of audio per block of a live stream: short enough for low latency, long enough to be fast
BLOCK_SECONDS = 0.25  # of audio per block that `stream` yields when not said, rounded to whole frames

Audio: TypeAlias = npt.NDArray[np.floating]
"""Samples in [-1, 1] at the bundle's sample rate."""


class Sampler:
    """Generates a batch of clips from a bundle, from their beginning on.

    Each clip is a function of the bundle, its precision, the seed, the clip's number, its temperature and what it was
    primed with. It does not depend on the other clips, nor on how it is asked for.

    Args:
        bundle: the exported model.
        clips: how many clips to make side by side, numbered from 0, or the numbers of the clips to make. (In int8 on
            the CPU `clips=1` takes a faster path that rounds differently; `clips=[0]` is clip 0 as in any batch.)
        seed: chooses the random draws, together with the clip's number; 0 .. 2**64 - 1.
        temperature: divides the logits, 0.01 to 100; under 1 plays safer, over 1 wilder. A number, or a
            `slash_infer.sampling.temperature.TemperatureSchedule` over time; one for all clips, or one for each.
        engine: runs the graphs: `auto`, `cpu`, `cuda` or `tensorrt`, or one that is open already, to be shared.
        precision: `auto`, `fp32`, `int8` or `fp16`; an open engine has its own.

    Raises:
        UserError: a value is out of range, or the engine cannot be had or cannot load the bundle.
    """

    def __init__(
        self,
        bundle: Bundle,
        clips: int | Sequence[int] = 1,
        *,
        seed: int = 0,
        temperature: Temperature | Sequence[Temperature] = 1.0,
        engine: Engine | EngineName = "auto",
        precision: PrecisionName = "auto",
    ) -> None:
        self._bundle, self._manifest = bundle, bundle.manifest
        self.engine = engine if isinstance(engine, Engine) else open_engine(bundle, engine, precision).engine
        self.seed, self.clips = seed, [*range(clips)] if isinstance(clips, int) else [int(clip) for clip in clips]
        self._lone = isinstance(clips, int) and clips == 1
        if not self.clips:
            raise UserError(f"{clips} clips", "must be 1 or more")
        rows = 1 if self._lone else self.engine.rows_for(len(self.clips))
        self._rows = [*range(len(self.clips)), *[0] * (rows - len(self.clips))]  # whose they are: company is clip 0's
        self._uniforms = Uniforms(seed, [self.clips[i] for i in self._rows])
        self._schedules = schedules(temperature, len(self.clips))
        shares = self.engine.shares(rows)
        self._borders = np.cumsum(shares)[:-1]
        self._players = [self.engine.player(share) for share in shares]
        self._give_back = weakref.finalize(self, self.engine.release, self._players)
        self._threads = ThreadPoolExecutor(len(shares)) if len(shares) > 1 else None
        self._made = 0  # samples of every clip so far
        none = np.zeros((rows, 0))
        self._ahead = Generated(none.astype(np.int32), none.astype(np.float32))  # those of them not asked for yet
        self._nll_sum = np.zeros(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of threads and players. The sampler cannot be used any more."""
        if self._threads is not None:
            self._threads.shutdown()
        self._give_back()
        self._players = []

    @property
    def sample_rate(self) -> int:
        """Samples per second, the bundle's."""
        return self._manifest.sample_rate

    @property
    def seconds(self) -> float:
        """Length of what has been generated and asked for so far, of every clip."""
        return float((self._made - self._ahead.codes.shape[1]) / self.sample_rate)

    @property
    def bits(self) -> npt.NDArray[np.float64]:
        """How unlikely the model finds what it drew so far, at the clip's temperature: bits per sample, [clips].

        NaN before the first sample.
        """
        asked_for = self._made - self._ahead.codes.shape[1]
        nats = self._nll_sum[: len(self.clips)]
        return nats / asked_for / math.log(2) if asked_for else np.full_like(nats, np.nan)

    def prime(self, audio: Audio | Sequence[Audio]) -> None:
        """Let the clips hear audio, which they then continue without a seam. Only before they begin.

        The audio is encoded with the bundle's codec and runs through the frame tiers. A clip whose audio is no
        multiple of the top tier's hop hears some silence, less than a hop, before it.

        Args:
            audio: [samples] for all clips alike, or one such array for each clip, which may differ in length.

        Raises:
            UserError: the clips have begun, there is not one array for each clip, or a sample is not finite.
        """
        if self._made:
            raise UserError("primes", "the clips have begun", "prime a new Sampler")
        alike = isinstance(audio, np.ndarray) and audio.ndim == 1
        each = [np.asarray(audio)] * len(self.clips) if alike else [np.asarray(one) for one in audio]
        if len(each) != len(self.clips) or any(one.ndim != 1 for one in each):
            raise UserError(
                f"primes must be one array of samples for all clips, or one for each of {len(self.clips)}"
            )
        if any(one.dtype.kind != "f" for one in each):
            raise UserError(
                "primes", "must be real samples in [-1, 1]", "divide those of integers by their full scale"
            )
        if not all(np.isfinite(one).all() for one in each):
            raise UserError("primes", "hold samples that are not finite", "repair them")
        codes = [self._manifest.codec.encode(one) for one in each]
        for player, rows in self._shared_out():
            _listen(player, self.engine.beginning(player.clips), [codes[i] for i in rows])

    def codes(self, count: int) -> Int32:
        """Return the next `count` codes of every clip, [clips, count]."""
        ahead = self._ahead
        steps = max(0, -(-(count - ahead.codes.shape[1]) // self._manifest.top_hop))
        if steps:
            ahead = Generated.joined([ahead, self._play(steps)], axis=1)
        if ahead.codes.max(initial=0) >= self._manifest.codec.levels:
            raise UserError("the bundle's graphs draw codes that its codec does not have; export the bundle again")
        self._nll_sum += ahead.nll[:, :count].sum(axis=1, dtype=np.float64)
        self._ahead = ahead.part(times=slice(count, None))
        return ahead.codes[: len(self.clips), :count]

    def stream(self, seconds: float = math.inf, *, block_seconds: float = BLOCK_SECONDS) -> Iterator[Float32]:
        """Yield what comes next of every clip, block by block. Memory does not grow with time.

        Args:
            seconds: how much; endlessly when not given.
            block_seconds: length of a block, rounded to whole steps of the top tier, at least one; the last may be
                shorter.

        Yields:
            samples in [-1, 1], float32 [clips, samples].

        Raises:
            UserError: a length is negative or not a number.
        """
        if not (seconds >= 0 and 0 < block_seconds < math.inf):
            raise UserError(f"{seconds} seconds in blocks of {block_seconds}", "must be 0 or more, in blocks over 0")
        hop = self._manifest.top_hop
        block = max(1, round(block_seconds * self.sample_rate / hop)) * hop
        remaining = math.inf if seconds == math.inf else round(seconds * self.sample_rate)
        while remaining > 0:
            count = int(min(block, remaining))
            yield self._manifest.codec.decode(self.codes(count))
            remaining -= count

    def generate(self, seconds: float) -> Float32:
        """Return the next `seconds` of every clip at once, float32 [clips, samples]."""
        return np.concatenate([np.zeros((len(self.clips), 0), np.float32), *self.stream(seconds)], axis=1)

    def save(self, path: str | Path) -> None:
        """Write all that the clips' future depends on to a file (.npz), from which `restore` goes on.

        Raises:
            OSError: the file cannot be written.
        """
        moments = [player.moment() for player in self._in_use()]
        SavedSampler(
            manifest_sha256=self._bundle.manifest_sha256,
            seed=self.seed,
            clips=self.clips,
            lone=self._lone,
            temperature=self._schedules,
            made=self._made,
            precision=self.engine.precision,
            ahead=self._ahead,
            nats=self._nll_sum,
            moment=GenerationState.joined(moments),
        ).write(Path(path))

    @classmethod
    def restore(
        cls,
        path: str | Path,
        bundle: Bundle,
        *,
        engine: Engine | EngineName = "auto",
        precision: PrecisionName | None = None,
    ) -> Self:
        """Return a sampler that goes on where the one that was saved stood.

        On the same engine and in the same precision it makes what the other would have made, sample for sample.

        Args:
            path: a file that `save` wrote.
            bundle: the same one.
            engine: as for a new sampler.
            precision: as for a new sampler; that of the one saved when not said.

        Raises:
            UserError: the file is none of `save`'s, or damaged, or of another bundle.
        """
        saved = SavedSampler.read(Path(path), bundle)
        clips = 1 if saved.lone else saved.clips
        made = cls(
            bundle,
            clips,
            seed=saved.seed,
            temperature=saved.temperature,
            engine=engine,
            precision=precision or saved.precision,
        )
        made._go_on_from(saved)
        return made

    def _go_on_from(self, saved: SavedSampler) -> None:
        """Stand where another stood that had the same clips."""
        self._uniforms = Uniforms(self.seed, [self.clips[i] for i in self._rows], start=saved.made)
        # another engine may want more company, or less
        self._made, self._ahead, self._nll_sum = saved.made, saved.ahead.part(self._rows), saved.nats[self._rows]
        for player, rows in self._shared_out():
            player.go_to(saved.moment.of(rows))

    def _play(self, steps: int) -> Generated:
        """Take some steps of the top tier, every player with its share of the clips."""
        hop = self._manifest.top_hop
        times = (self._made + hop * np.arange(steps)) / self.sample_rate
        temperatures = np.stack([schedule.at(times) for schedule in self._schedules])
        uniform = np.split(self._uniforms.next(steps * hop), self._borders)
        temperature = np.split(temperatures[self._rows], self._borders)
        self._made += steps * hop
        players = self._in_use()
        if self._threads is None:
            return players[0].play(uniform[0], temperature[0])
        return Generated.joined(list(self._threads.map(BatchRunner.play, players, uniform, temperature)), axis=0)

    def _shared_out(self) -> Iterator[tuple[BatchRunner, list[int]]]:
        """Yield each player with whose its rows are."""
        begin = 0
        for player in self._in_use():
            yield player, self._rows[begin : begin + player.clips]
            begin += player.clips

    def _in_use(self) -> list[BatchRunner]:
        if not self._players:
            raise ValueError("the sampler is closed")
        return self._players


def _listen(player: BatchRunner, beginning: GenerationState, codes: Sequence[Int32]) -> None:
    """Let each clip of a player hear codes of its own, [T], all ending at once; those with less begin later."""
    hop = player.hop
    steps = np.array([-(-len(one) // hop) for one in codes])
    rows = np.repeat(beginning.history[:, :1], steps.max() * hop, axis=1)
    for row, one in zip(rows, codes, strict=True):
        row[len(row) - len(one) :] = one
    starts = steps.max() - steps
    turns = sorted({0, *starts.tolist()})
    for now, then in pairwise([*turns, int(steps.max())]):
        if now:
            moment = player.moment()
            moment.put_back(starts == now, beginning)
            player.go_to(moment)
        for first in range(now, then, PREFILL_STEPS):
            player.listen(rows[:, first * hop : min(first + PREFILL_STEPS, then) * hop])
