"""Generates a batch of clips: uniforms in, audio out."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import (
    as_integer,
    as_number,
    as_path,
    check_bool,
    check_choice,
    is_several,
    passed,
)
from slash_infer.bundle import Bundle, check_bundle
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, Int32
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, DEFAULT_TEMPERATURE, MOST_CANDIDATES
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.floor import as_floor
from slash_infer.sampling.randomness import MAX_KEY, Uniforms
from slash_infer.sampling.saved_sampler import SavedSampler
from slash_infer.sampling.steering import BLOCK_SECONDS as STEERED_SECONDS
from slash_infer.sampling.steering import Steering, allowed
from slash_infer.sampling.temperature import Temperature, schedules

MOST_CLIPS = 65_536  # side by side
MOST_SAMPLES = 1 << 30  # of all clips together that are returned at once: 4 GiB
SAMPLES_AT_ONCE = 1 << 20  # the same, that are on the device together
BLOCK_SECONDS = 0.25  # of audio in a block of `stream`, rounded to whole steps of the top tier
LIVE_BLOCK_SECONDS = STEERED_SECONDS  # of audio that is played while it is generated: as short as clips are steered

Audio: TypeAlias = npt.NDArray[np.floating]
"""Samples in [-1, 1] at the bundle's sample rate."""


class Sampler:
    """Generates a batch of clips from a bundle.

    A clip is a function of the bundle, its precision, the seed, the clip's number, its temperature, the floor, the
    candidates, whether it restarts, and its prime. It depends neither on the other clips of the batch nor on the
    lengths that are asked for.

    Args:
        bundle: the exported model.
        clips: how many clips to generate side by side, numbered from 0; or the numbers of the clips.
        seed: of the random draws, 0 .. 2**64 - 1. Each clip's draws depend on the seed and the clip's number.
        temperature: divides the logits, 0.01 to 100; below 1 is safer, above 1 wilder. A number or a
            `TemperatureSchedule`; one for all clips, or one for each.
        floor: is subtracted from the probabilities of all codes before each draw, so that a code whose probability is
            at or under it is never drawn: 0, which leaves no code out, to 0.9 / Q for a codec of Q levels. LPCNet,
            whose idea it is, has 256 levels and 0.002 (Valin and Skoglund 2019, arXiv 1810.11846, section 3.7).
            None is Slash's default.
        candidates: how often each 64 ms of a clip is drawn, 1 to 64, to go on with the first draw that surprises the
            model no more than recordings do and is as harmonic, or else the one that comes nearest. 1 takes whatever
            is drawn, and so does a bundle that does not know its recordings.
        restart: whether a clip begins anew, as from its first sample, where it is silent or stuck for longer than
            recordings are.
        engine: what runs the model: `auto`, `cpu`, `compiled`, `cuda`, `tensorrt` or `cluster`; or an open engine, to
            share it.
        precision: `auto`, `fp32`, `int8` or `fp16`. An open engine has its own.
        batch_invariant: whether a clip comes out the same, to the last bit, in any batch. If so, a batch is padded to
            what the runtime needs for it: on the engine cpu, to an even number of rows or, in models of width 512 and
            more, to a multiple of the threads; compiled needs none. One clip without padding is faster; use it for
            live audio that need not be generated again. On a GPU no padding helps, and clips are the same up to
            rounding.

    Raises:
        UserError: an argument is out of range or of another type, the engine is not available or cannot open the
            bundle, or an open engine runs another one.
    """

    def __init__(
        self,
        bundle: Bundle,
        clips: int | Sequence[int] = 1,
        *,
        seed: int = 0,
        temperature: Temperature | Sequence[Temperature] = DEFAULT_TEMPERATURE,
        floor: float | None = None,
        candidates: int = DEFAULT_CANDIDATES,
        restart: bool = True,
        engine: Engine | EngineName = "auto",
        precision: PrecisionName = "auto",
        batch_invariant: bool = True,
    ) -> None:
        check_bundle(bundle)
        self._bundle, self._manifest = bundle, bundle.manifest
        self.clips = _clip_numbers(clips)
        self.seed = as_integer("seed", seed, 0, MAX_KEY)
        self._schedules = schedules(temperature, len(self.clips))
        self.floor = as_floor(floor, self._manifest.codec.levels)
        candidates = as_integer("candidates", candidates, 1, MOST_CANDIDATES)
        check_bool("restart", restart)
        check_bool("batch_invariant", batch_invariant)
        check_choice("precision", precision, get_args(PrecisionName))
        self.batch_invariant = batch_invariant
        if not isinstance(engine, Engine):
            engine = open_engine(bundle, engine, precision, rows=len(self.clips) * candidates)
        self.engine = engine
        if self.engine.manifest != bundle.manifest:
            raise UserError(Argument("engine"), f"runs another bundle than {bundle.path}", "open one for this bundle")
        self.candidates, self.restart = allowed(self._manifest.recorded, candidates, restart)
        """Candidates of a clip are rows of the batch, one after another."""
        self._steering = Steering.of(self._manifest, len(self.clips), self.candidates, self.restart)
        self._uniforms = Uniforms(self.seed, self.clips, candidates=self.candidates)
        try:
            self._batch = Batch(self.engine, len(self.clips) * self.candidates, batch_invariant=batch_invariant)
        except MemoryError:
            raise UserError(Argument("clips", len(self.clips)), "do not fit in memory", "ask for fewer") from None
        self._generated = 0  # samples of every clip
        self._buffered = Generated.empty(len(self.clips))  # of these, the ones not asked for yet: steps are whole
        self._nll_sum = np.zeros(len(self.clips))  # of each clip's samples that were asked for

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release threads and buffers. The sampler cannot be used any more."""
        self._batch.close()

    @property
    def rows(self) -> int:
        """Rows of the batch as the graphs see it: candidates, and padding where the batch is batch-invariant."""
        return self._batch.rows

    @property
    def sample_rate(self) -> int:
        """In Hz, the bundle's."""
        return self._manifest.sample_rate

    @property
    def seconds(self) -> float:
        """Length of the audio asked for so far, of each clip."""
        return float(self._asked_for / self.sample_rate)

    @property
    def bits(self) -> npt.NDArray[np.float64]:
        """Mean negative log2-likelihood of the samples asked for so far, in bits/sample, [clips].

        At the temperature that each was drawn at, before the floor. NaN before the first sample.
        """
        if not self._asked_for:
            return np.full_like(self._nll_sum, np.nan)
        return self._nll_sum / self._asked_for / math.log(2)

    def prime(self, audio: Audio | Sequence[Audio], *, heard: Callable[[float], object] = lambda _: None) -> None:
        """Feed the clips audio that they then continue without a seam. Only possible before the first sample.

        The audio is encoded with the bundle's codec and runs through the frame tiers. If its length is no multiple of
        the top tier's hop, silence of less than a hop comes before it.

        Args:
            audio: [samples] for all clips, or one such array for each clip, which may differ in length.
            heard: called now and then with how many seconds of the longest have been heard.

        Raises:
            UserError: generation has begun, there is not one array for each clip, or a sample is not finite.
            ValueError: the sampler is closed.
        """
        if self._generated:
            raise UserError(Argument("audio"), "the clips have begun", "prime a new Sampler")
        each = _one_for_each(audio, len(self.clips))
        if any(one.dtype.kind != "f" for one in each):
            raise UserError(
                Argument("audio"), "must be real samples in [-1, 1]", "divide those of integers by their full scale"
            )
        if not all(np.isfinite(one).all() for one in each):
            raise UserError(Argument("audio"), "holds samples that are not finite", "repair it")
        codes = [self._manifest.codec.encode(one) for one in each]
        seconds = max(len(one) for one in each) / self.sample_rate
        self._batch.prefill(
            [one for one in codes for _ in range(self.candidates)], done=lambda fraction: heard(fraction * seconds)
        )

    def codes(self, count: int) -> Int32:
        """Return the next `count` codes of every clip, [clips, count].

        Raises:
            UserError: `count` is negative, no integer, or more than fits in memory; or the bundle's graphs fail, draw
                codes that its codec does not have, or give likelihoods that are none.
            ValueError: the sampler is closed.
        """
        count = as_integer("count", count, 0, MOST_SAMPLES // len(self.clips))
        self._batch.require_open()
        parts = [self._buffered]
        missing = count - parts[0].codes.shape[1]
        while missing > 0:
            at_once = min(missing, max(1, SAMPLES_AT_ONCE // len(self.clips)))
            steps = -(-(at_once if self._steering is None else self._steering.block) // self._manifest.top_hop)
            parts.append(self._generate(steps))
            missing -= steps * self._manifest.top_hop
        buffered = parts[0] if len(parts) == 1 else Generated.concatenate(parts, axis=1)
        self._nll_sum += buffered.nll[:, :count].sum(axis=1, dtype=np.float64)
        self._buffered = buffered.select(times=slice(count, None))
        return buffered.codes[:, :count]

    def stream(self, seconds: float = math.inf, *, block_seconds: float = BLOCK_SECONDS) -> Iterator[Float32]:
        """Yield the next audio of every clip, block by block. Memory does not grow with time.

        Args:
            seconds: how much; endless by default.
            block_seconds: length of a block, rounded to whole steps of the top tier, at least one. The last block may
                be shorter.

        Yields:
            samples in [-1, 1], float32 [clips, samples].

        Raises:
            UserError: a length is negative or not a number, or a block is longer than fits in memory; and as `codes`.
            ValueError: the sampler is closed.
        """
        try:
            wanted, each = as_number("seconds", seconds, 0), as_number("block_seconds", block_seconds, 0)
        except UserError:
            wanted = each = math.nan
        if not 0 < each < math.inf:
            subject = f"{passed('seconds', seconds)}, {passed('block_seconds', block_seconds)}"
            raise UserError(subject, "must be 0 or more, in blocks over 0")
        hop = self._manifest.top_hop
        steps, samples = each * self.sample_rate / hop, wanted * self.sample_rate
        block = math.inf if steps == math.inf else max(1, round(steps)) * hop
        samples = math.inf if samples == math.inf else round(samples)
        self._check_at_once(passed("block_seconds", block_seconds), min(block, samples), "shorten it")
        return self._blocks(samples, block)

    def generate(self, seconds: float) -> Float32:
        """Return the next `seconds` of every clip, float32 [clips, samples].

        Raises:
            UserError: `seconds` is negative, not a number, or more than fits in memory; and as `codes`.
            ValueError: the sampler is closed.
        """
        samples = as_number("seconds", seconds, 0) * self.sample_rate
        self._check_at_once(passed("seconds", seconds), samples, "stream it")
        return np.concatenate([np.zeros((len(self.clips), 0), np.float32), *self.stream(seconds)], axis=1)

    def save(self, path: str | Path) -> None:
        """Write everything that the clips' future depends on to a .npz file, which `restore` reads.

        Raises:
            UserError: `path` is no path, or the file cannot be written.
            ValueError: the sampler is closed.
        """
        SavedSampler(
            manifest_sha256=self._bundle.manifest_sha256,
            seed=self.seed,
            clips=self.clips,
            batch_invariant=self.batch_invariant,
            temperature=self._schedules,
            floor=self.floor,
            candidates=self.candidates,
            restart=self.restart,
            steering={} if self._steering is None else self._steering.arrays(),
            generated=self._generated,
            precision=self.engine.precision,
            buffered=self._buffered,
            nll_sum=self._nll_sum,
            state=self._batch.state().select(slice(None, None, self.candidates)),
        ).write(as_path("path", path))

    @classmethod
    def restore(
        cls,
        path: str | Path,
        bundle: Bundle,
        *,
        engine: Engine | EngineName = "auto",
        precision: PrecisionName | None = None,
    ) -> Self:
        """Return a sampler that continues where the saved one stopped.

        On the same engine and in the same precision it generates exactly what the saved one would have.

        Args:
            path: a file that `save` wrote.
            bundle: the one it was saved from.
            engine: as for a new sampler.
            precision: as for a new sampler; by default, that of the saved one.

        Raises:
            UserError: the file was not written by `save`, is damaged, or belongs to another bundle.
        """
        check_bundle(bundle)
        if precision is not None:
            check_choice("precision", precision, get_args(PrecisionName))
        saved = SavedSampler.read(as_path("path", path), bundle)
        restored = cls(
            bundle,
            saved.clips,
            seed=saved.seed,
            temperature=saved.temperature,
            floor=saved.floor,
            candidates=saved.candidates,
            restart=saved.restart,
            engine=engine,
            precision=precision or saved.precision,
            batch_invariant=saved.batch_invariant,
        )
        restored._continue(saved)
        return restored

    @property
    def _asked_for(self) -> int:
        """Samples of each clip that have been returned."""
        return self._generated - int(self._buffered.codes.shape[1])

    def _continue(self, saved: SavedSampler) -> None:
        """Take over the state of a sampler that had the same clips."""
        self._uniforms = Uniforms(self.seed, self.clips, start=saved.generated, candidates=self.candidates)
        self._generated, self._buffered, self._nll_sum = saved.generated, saved.buffered, saved.nll_sum
        if self._steering is not None:
            self._steering.take(saved.steering)
        self._batch.set_state(saved.state.select(np.repeat(np.arange(len(self.clips)), self.candidates)))

    def _blocks(self, samples: float, block: float) -> Iterator[Float32]:
        """Yield so many samples of every clip, possibly without end, in blocks."""
        while samples > 0:
            count = int(min(block, samples))
            yield self._manifest.codec.decode(self.codes(count))
            samples -= count

    def _check_at_once(self, subject: Argument, samples: float, remedy: str) -> None:
        """Check that so many samples of every clip may be held in memory."""
        if samples * len(self.clips) > MOST_SAMPLES:
            raise UserError(subject, f"is over {MOST_SAMPLES:,} samples of all clips together", remedy)

    def _generate(self, steps: int) -> Generated:
        """Take some steps of the top tier."""
        hop = self._manifest.top_hop
        times = (self._generated + hop * np.arange(steps)) / self.sample_rate
        at = {schedule: schedule.at(times) for schedule in set(self._schedules)}
        temperatures = np.repeat([at[schedule] for schedule in self._schedules], self.candidates, axis=0)
        self._generated += steps * hop
        drawn = self._batch.generate(self._uniforms.block(steps * hop), temperatures, self.floor)
        fault = drawn.fault(self._manifest.codec.levels)
        if fault is not None:
            graph = self._bundle.variant(self.engine.precision).sample_tier.file
            raise UserError(self._bundle.path, f"{fault} ({graph})", "export the bundle again")
        return drawn if self._steering is None else self._steer(drawn, self._steering)

    def _steer(self, drawn: Generated, steering: Steering) -> Generated:
        """Put all candidates of a clip into the state of the chosen one, or of a beginning; return what it drew."""
        rows, anew = steering.choose(drawn)
        if self.candidates > 1 or anew.any():
            state = self._batch.state().select(np.repeat(rows, self.candidates))
            if anew.any():
                state.reset(np.repeat(anew, self.candidates), self.engine.initial_state(self._batch.clips))
            self._batch.set_state(state)
        return drawn.select(rows)


def _clip_numbers(clips: int | Sequence[int]) -> list[int]:
    """Return the numbers of the clips, from their count or themselves."""
    if not isinstance(clips, int) and is_several(clips):
        if not 1 <= len(clips) <= MOST_CLIPS:
            raise UserError(Argument("clips", f"of {len(clips)}"), f"must be 1 or more, at most {MOST_CLIPS}")
        return [as_integer("clips", clip, 0, MAX_KEY) for clip in clips]
    try:
        return [*range(as_integer("clips", clips, 1, MOST_CLIPS))]
    except UserError as error:
        raise UserError(error.subject, f"must be 1 or more, at most {MOST_CLIPS}; or numbers of clips") from None


def _one_for_each(audio: Audio | Sequence[Audio], clips: int) -> list[Audio]:
    """Return the audio of each clip, from one for all or from one for each."""
    try:
        alike = isinstance(audio, np.ndarray) and audio.ndim == 1
        each = [np.asarray(audio)] * clips if alike else [np.asarray(one) for one in audio]
    except (TypeError, ValueError):  # not a sequence, or lists of several lengths
        each = []
    if len(each) != clips or any(one.ndim != 1 for one in each):
        raise UserError(Argument("audio"), f"must be one array of samples for all clips, or one for each of {clips}")
    return each
