"""A bundle opened on a runtime: the state that clips begin in, and runners to step batches with."""

from collections.abc import Iterable

import numpy as np

from slash_infer.bundle import Bundle, Precision, check_bundle
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.protocol import Runner, Runtime

IDLE_RUNNERS = 16  # kept for reuse, since preparing one takes time; the least recently released is dropped first
IDLE_CLIPS = 16_384  # of all of these together: a runner of so many takes a gigabyte


class Engine:
    """A bundle opened on a runtime in one precision. Samplers on several threads may share it.

    Args:
        bundle: whose model to run.
        runtime: where to run it.
        precision: what to compute in.

    Raises:
        UserError: `bundle` is none, the bundle has no such precision, or the runtime cannot run its model.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, precision: Precision = "fp32") -> None:
        check_bundle(bundle)
        self.manifest = bundle.manifest
        self.runtime = runtime
        self.precision = precision
        self.why = ""
        """What kept `auto` from other engines; empty if nothing did, or if this one was asked for."""
        self.model = runtime.open(bundle, precision)
        self._initial = [bundle.initial_state(tier) for tier in self.manifest.frame_tiers]
        self._idle: dict[int, Runner] = {}  # by identity, in the order of their release

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people and sidecars."""
        return f"{self.runtime.description}, {self.precision}"

    @property
    def batch_multiple(self) -> int:
        """Rows that a batch must be a multiple of for its clips to come out as in any other."""
        return self.runtime.batch_multiple(self.precision, self.manifest.width)

    def initial_state(self, clips: int) -> GenerationState:
        """Return the state in which `clips` clips begin: a history of silence and the learned initial RNN states."""
        rnn_states = [
            {
                name: np.repeat(part[:, np.newaxis], clips, axis=1)
                for name, part in zip(tier.state_names, initial, strict=True)
            }
            for tier, initial in zip(self.manifest.frame_tiers, self._initial, strict=True)
        ]
        return GenerationState(self.manifest.silence(clips), rnn_states)

    def runner(self, clips: int) -> Runner:
        """Return a runner for `clips` clips in their initial state."""
        state = self.initial_state(clips)
        for key, runner in reversed(list(self._idle.items())):
            if runner.clips == clips and self._idle.pop(key, None) is runner:
                runner.set_state(state)
                return runner
        return self.model.runner(state)

    def release(self, runners: Iterable[Runner]) -> None:
        """Take back runners that are no longer used, for `runner` to hand out again."""
        self._idle |= {id(runner): runner for runner in runners}
        clips = 0
        for count, (key, runner) in enumerate(reversed(list(self._idle.items())), 1):
            clips += runner.clips
            if count > IDLE_RUNNERS or clips > IDLE_CLIPS:
                self._idle.pop(key, None)
