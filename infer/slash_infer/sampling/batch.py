"""Clips side by side: padded to what the runtime needs, and shared out among runners, on threads if that pays."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.protocol import Runner
from slash_infer.runtimes.uniform_block import Uniform
from slash_infer.sampling.engine import Engine

PREFILL_STEPS = 1024  # of the top tier on the device at once: a prime may be long


class Batch:
    """A batch of clips in their initial state, shared out among runners, on as many threads as the runtime wants.

    A runtime may use other kernels for few rows, which round differently. A batch-invariant batch is padded to a
    multiple of `Runtime.batch_multiple`, so that a clip comes out the same, to the last bit, in any batch (on a GPU,
    where no multiple helps, up to rounding). Padding rows repeat the first clip, and are in nothing that a method
    returns.

    Where a runner takes fewer clips than there are, several runners take turns.

    Args:
        engine: what runs the model.
        clips: how many.
        batch_invariant: whether to pad. One clip without padding is faster.
    """

    def __init__(self, engine: Engine, clips: int, *, batch_invariant: bool = True) -> None:
        self._engine, self.clips = engine, clips
        multiple = engine.batch_multiple if batch_invariant else 1
        self.rows = -(-clips // multiple) * multiple
        """Clips and padding rows."""
        clip_index = np.pad(np.arange(clips), (0, self.rows - clips))  # of each row
        threads = engine.runtime.threads(self.rows, engine.manifest.width)
        runners = max(threads, -(-self.rows // engine.model.most_clips(self.rows)))
        shares = [multiple * len(share) for share in np.array_split(np.arange(self.rows // multiple), runners)]
        self._clip_index = np.split(clip_index, np.cumsum(shares)[:-1])  # of each runner's rows
        self._runners = [engine.runner(share) for share in shares]
        self._release = weakref.finalize(self, engine.release, self._runners)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    @property
    def shares(self) -> list[int]:
        """Rows that each runner steps."""
        return [len(clip_index) for clip_index in self._clip_index]

    def close(self) -> None:
        """Stop the threads and give the runners back to the engine. The batch cannot be used any more."""
        if self._pool is not None:
            self._pool.shutdown()
        self._release()
        self._runners = []

    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        """Take steps of the top tier.

        Args:
            uniform: one draw for each sample, [B, T]; T a multiple of the top tier's hop.
            temperature: divides each clip's logits during a step, [B, T / hop].
            floor: is subtracted from the probabilities of all codes before a draw.

        Returns:
            the codes drawn, [B, T], and their likelihoods.
        """

        def share(runner: Runner, clip_index: npt.NDArray[np.intp]) -> Generated:
            return runner.generate(uniform[clip_index], temperature[clip_index], floor)

        runners = self._open_runners()
        if len(runners) > 1:
            uniform = np.asarray(uniform)  # before rows are shared out: several may come from one generator
        run = map if self._pool is None else self._pool.map
        parts = list(run(share, runners, self._clip_index))
        return (parts[0] if len(parts) == 1 else Generated.concatenate(parts, axis=0)).select(slice(self.clips))

    def prefill(
        self,
        codes: Sequence[Int32],
        *,
        steps_at_once: int = PREFILL_STEPS,
        done: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Feed each clip codes that it then continues. They all end at the same step; shorter ones begin later.

        Args:
            codes: one array for each clip, [T], of any length. Where it does not fill whole steps of the top tier,
                silence comes before it.
            steps_at_once: steps of the top tier that are put on the device together.
            done: called with the fraction that is done, each time that many are.
        """
        runners = self._open_runners()
        for number, (runner, clip_index) in enumerate(zip(runners, self._clip_index, strict=True)):
            initial, of_runner = self._engine.initial_state(runner.clips), [codes[i] for i in clip_index]
            for fraction in _prefill(runner, initial, of_runner, steps_at_once):
                done((number + fraction) / len(runners))

    def state(self) -> GenerationState:
        """Return the state of the clips."""
        states = [runner.state() for runner in self._open_runners()]
        return GenerationState.concatenate(states).select(slice(self.clips))

    def set_state(self, state: GenerationState) -> None:
        """Put the clips into `state`."""
        for runner, clip_index in zip(self._open_runners(), self._clip_index, strict=True):
            runner.set_state(state.select(clip_index))

    def require_open(self) -> None:
        """Raise `ValueError` if the batch is closed."""
        if not self._runners:
            raise ValueError("the sampler is closed")

    def _open_runners(self) -> list[Runner]:
        self.require_open()
        return self._runners


def _prefill(runner: Runner, initial: GenerationState, codes: Sequence[Int32], steps_at_once: int) -> Iterator[float]:
    """Prefill a runner; yield the fraction done. Clips that begin later are put back to their initial state then."""
    hop = runner.hop
    steps = np.array([-(-len(row) // hop) for row in codes])
    total = int(steps.max())
    padded = np.repeat(initial.history[:, :1], total * hop, axis=1)  # silence
    for row, row_codes in zip(padded, codes, strict=True):
        row[len(row) - len(row_codes) :] = row_codes
    first_steps = total - steps
    for begin, end in pairwise([*sorted({0, *first_steps.tolist()}), total]):
        state = runner.state()
        state.reset(first_steps == begin, initial)
        runner.set_state(state)
        for first in range(begin, end, steps_at_once):
            last = min(first + steps_at_once, end)
            runner.prefill(padded[:, first * hop : last * hop])
            yield last / total
