"""Steps a batch of clips with the cluster kernel, which generates a block of audio in one launch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np
from typing_extensions import override

from slash_infer.runtimes.cluster_kernel import Kernel, KernelDevice, filled_up, put
from slash_infer.runtimes.cluster_plan import GIVEN, MAX_TIERS, Call, Plan, Tier
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.protocol import A, Runner
from slash_infer.runtimes.uniform_block import Uniform

MOST_SAMPLES = 1 << 14  # of a clip in a launch, which nothing can interrupt
KNOWN = np.uint64(1 << 32)  # tag of a code that is there
CODE = np.uint64(KNOWN - np.uint64(1))  # its other bits


@dataclass(frozen=True)
class Loaded(Generic[A]):
    """The kernel for some number of clips, with a model's weights on the device."""

    plan: Plan
    kernel: Kernel
    weights: Mapping[str, A]
    """By the names of the fields of `Call`."""


class ClusterRunner(Runner, Generic[A]):
    """A batch of clips. Recurrent states stay on the device, the last codes on the host.

    Where the kernel is made for more clips than there are, it computes further ones, which nothing returns.

    Args:
        device: runs the kernel.
        loaded: for as many clips as `state` has, or more.
        state: to begin in, of B clips.
    """

    def __init__(self, device: KernelDevice[A], loaded: Loaded[A], state: GenerationState) -> None:
        self._device, self._kernel, self._plan = device, loaded.kernel, loaded.plan
        self.clips, self.hop = len(state.history), loaded.plan.top_hop
        self._weights = loaded.weights
        self._mail = device.array([self._plan.mail_words], np.uint64)
        self._states = device.array([self._plan.state_floats], np.float32)
        self.set_state(state)

    @override
    def state(self) -> GenerationState:
        flat = self._device.get(self._states)
        rnn_states = [
            {name: part[:, : self.clips, : self._plan.real_width].copy() for name, part in parts.items()}
            for parts in (self._parts(flat, k) for k in range(len(self._plan.tiers)))
        ]
        return GenerationState(self._history.copy(), rnn_states)

    @override
    def set_state(self, state: GenerationState) -> None:
        flat = np.zeros(self._plan.state_floats, np.float32)
        for k, tier_state in enumerate(state.rnn_states):
            for name, part in self._parts(flat, k).items():
                part[:, : self.clips, : self._plan.real_width] = tier_state[name]
        self._device.put(self._states, flat)
        self._history = state.history.astype(np.int32)

    @override
    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        steps, uniform = temperature.shape[1], np.asarray(uniform)
        at_once = max(1, MOST_SAMPLES // self.hop)
        parts = [Generated.empty(self.clips)]
        for first in range(0, steps, at_once):
            some = slice(first, min(first + at_once, steps))
            samples = slice(some.start * self.hop, some.stop * self.hop)
            parts.append(self._launch(uniform[:, samples], temperature[:, some], floor))
        return Generated.concatenate(parts, axis=1)

    @override
    def prefill(self, codes: Int32) -> None:
        at_once = max(1, MOST_SAMPLES // self.hop) * self.hop
        for first in range(0, codes.shape[1], at_once):
            self._run(codes[:, first : first + at_once], GIVEN, {})

    def _launch(self, uniform: Float32, temperature: Float32, floor: float) -> Generated:
        device = self._device
        given = {"uniform": uniform, "temperature": temperature}
        arrays = {name: put(device, filled_up(values, self._plan.clips)) for name, values in given.items()}
        arrays["nll"] = device.array([self._plan.clips, uniform.shape[1]], np.float32)
        unknown = np.full(uniform.shape, -1, np.int32)
        codes = self._run(unknown, 0, arrays, floor)
        return Generated(codes, device.get(arrays["nll"])[: self.clips])

    def _run(self, codes: Int32, flags: int, arrays: Mapping[str, A], floor: float = 0.0) -> Int32:
        """Launch the kernel over codes that are given, or -1; return those that are there when it ends."""
        device, plan = self._device, self._plan
        words = np.concatenate([self._history, codes], axis=1)
        tape = put(device, filled_up(np.where(words < 0, 0, words.astype(np.uint64) | KNOWN), plan.clips))
        device.clear(self._mail)
        held = {**self._weights, **arrays, "mail": self._mail, "states": self._states, "tape": tape}
        self._kernel.launch(
            Call(
                steps=codes.shape[1] // self.hop,
                flags=flags,
                floor=floor,
                tiers=(Tier * MAX_TIERS)(*plan.tiers),
                **plan.call,
                **{name: device.address(array) for name, array in held.items()},
            )
        )
        known = (device.get(tape)[: self.clips] & CODE).astype(np.int32)
        self._history = known[:, known.shape[1] - plan.context :]
        return known[:, plan.context :]

    def _parts(self, flat: Float32, k: int) -> dict[str, Float32]:
        """Return views of a tier's states, by name, [L, clips of the kernel, padded D]."""
        plan, tier = self._plan, self._plan.tiers[k]
        shape = (2, tier.layers, plan.clips, plan.width)
        both = flat[tier.state : tier.state + int(np.prod(shape))].reshape(shape)
        return {"h": both[0]} if tier.is_gru else {"h": both[0], "c": both[1]}
