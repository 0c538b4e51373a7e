"""Steps a batch of clips through the tiers: device buffers, and one step of the top tier prepared over them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_infer.bundle import Manifest
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.graphs import Graphs
from slash_infer.runtimes.protocol import GraphRuntime, Launch, Runner
from slash_infer.runtimes.uniform_block import Uniform

ALIGNMENT = 64  # numbers: the 256 bytes that TensorRT wants addresses to be multiples of


class BatchRunner(Runner):
    """The device buffers of a batch, and one step of the top tier prepared over them.

    A step of the top tier runs each lower tier several times. All of it is unrolled into one list of launches. State
    and codes alternate between two buffers, so the step is prepared twice, once in each direction. The step that
    prefills, over codes that are given, is prepared when it is first needed.

    Args:
        runtime: where the graphs run.
        manifest: the bundle's.
        graphs: opened on the runtime.
        state: to begin in, of B clips.
    """

    def __init__(
        self, runtime: GraphRuntime[Any], manifest: Manifest, graphs: Graphs, state: GenerationState
    ) -> None:
        self._runtime, self._manifest, self._graphs = runtime, manifest, graphs
        self.clips, self.hop = len(state.history), manifest.top_hop
        clips, array, width = self.clips, runtime.array, manifest.width
        lowest = manifest.frame_tiers[0]
        self._calls = self.hop // lowest.hop  # of the sample tier in a step of the top tier
        self._call_size = -(-clips * lowest.hop // ALIGNMENT) * ALIGNMENT  # numbers of one call, aligned
        # The context, then the codes of the step. A step reads one tape and writes the other.
        self._tapes = [array([clips, manifest.context + self.hop], np.int32) for _ in range(2)]
        self._rnn_states = [
            [{name: array([tier.layers, clips, width], np.float32) for name in tier.state_names} for _ in range(2)]
            for tier in manifest.frame_tiers
        ]
        self._frames = [array([clips, tier.frame_size], np.int32) for tier in manifest.frame_tiers]
        self._history = array([clips, manifest.sample_tier.history], np.int32) if self._needs_history else None
        self._conditioning_in = [array([clips, width], np.float32) for _ in manifest.frame_tiers[:-1]]
        self._conditioning_out = [
            array([clips, *graph.outputs["conditioning_out"].shape[1:]], np.float32) for graph in graphs.frame_tiers
        ]
        self._codes = array([clips, lowest.hop], np.int32)
        self._uniform, self._uniform_calls = self._as_row([self._calls, self._call_size], np.float32)
        self._nll, self._nll_calls = self._as_row([self._calls, self._call_size], np.float32)
        self._temperature_row, self._temperature = self._as_row([clips], np.float32)
        self._floor = array([clips], np.float32)
        self._step_codes_row, self._step_codes = self._as_row([clips, self.hop], np.int32)
        self._given_codes_row, self._given_codes = self._as_row([clips, self.hop], np.int32)
        self._generating = [runtime.capture(self._step(direction, given=False)) for direction in range(2)]
        self._prefilling: list[Launch] = []
        self._direction = 0
        self.set_state(state)

    @override
    def state(self) -> GenerationState:
        manifest, get = self._manifest, self._runtime.get
        rnn_states = [
            {name: get(state) for name, state in both[self._direction * (self.hop // tier.hop) % 2].items()}
            for tier, both in zip(manifest.frame_tiers, self._rnn_states, strict=True)
        ]
        return GenerationState(get(self._tapes[1 - self._direction])[:, self.hop :], rnn_states)

    @override
    def set_state(self, state: GenerationState) -> None:
        self._direction = 0
        unread = np.zeros((self.clips, self.hop), np.int32)
        self._runtime.put(self._tapes[1], np.concatenate([unread, state.history], axis=1))
        for buffers, values in zip(self._rnn_states, state.rnn_states, strict=True):
            for name, value in values.items():
                self._runtime.put(buffers[0][name], value)

    @override
    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        runtime, steps = self._runtime, temperature.shape[1]
        uniforms = self._to_device(self._by_call(np.asarray(uniform), steps))
        temperatures = self._to_device(temperature.T)
        runtime.put(self._floor, np.full(self.clips, floor, np.float32))
        codes = runtime.array([steps, self.clips, self.hop], np.int32)
        nll = runtime.array([steps, self._calls, self._call_size], np.float32)
        for step in range(steps):
            runtime.copy_row(self._uniform, 0, uniforms, step)
            runtime.copy_row(self._temperature_row, 0, temperatures, step)
            self.step()
            runtime.copy_row(codes, step, self._step_codes_row, 0)
            runtime.copy_row(nll, step, self._nll, 0)
        return Generated(runtime.get(codes).swapaxes(0, 1).reshape(self.clips, -1), self._by_clip(runtime.get(nll)))

    def step(self) -> None:
        """Take one step with the uniforms, temperatures and floor that are in the buffers. `generate` fills them."""
        self._generating[self._direction]()
        self._direction = 1 - self._direction

    @override
    def prefill(self, codes: Int32) -> None:
        if not self._prefilling:
            state = self.state()
            self._prefilling = [self._runtime.capture(self._step(direction, given=True)) for direction in range(2)]
            self.set_state(state)  # capturing may have run the step
        rows = self._to_device(codes.reshape(self.clips, -1, self.hop).swapaxes(0, 1))
        for step in range(codes.shape[1] // self.hop):
            self._runtime.copy_row(self._given_codes_row, 0, rows, step)
            self._prefilling[self._direction]()
            self._direction = 1 - self._direction

    @property
    def _needs_history(self) -> bool:
        """Whether the sample tier sees something else than the frame of the tier above it."""
        return self._manifest.sample_tier.history not in (0, self._manifest.frame_tiers[0].frame_size)

    def _as_row(self, shape: Sequence[int], dtype: npt.DTypeLike) -> tuple[Any, Any]:
        """Return a new array twice: as the only row of a table, for `copy_row`, and by itself."""
        table = self._runtime.array([1, *shape], dtype)
        return table, self._runtime.part(table, 0, shape)

    def _to_device(self, values: npt.NDArray[Any]) -> Any:
        array = self._runtime.array(values.shape, values.dtype)
        self._runtime.put(array, values)
        return array

    def _by_call(self, uniform: Float32, steps: int) -> Float32:
        """Rearrange uniforms, [B, T], to [steps, calls, B * hop(1) and padding]."""
        by_call = uniform.reshape(self.clips, steps, self._calls, -1).transpose(1, 2, 0, 3)
        flat = by_call.reshape(steps, self._calls, -1)
        return np.pad(flat, ((0, 0), (0, 0), (0, self._call_size - flat.shape[2])))

    def _by_clip(self, values: Float32) -> Float32:
        """Undo `_by_call`."""
        used = self.clips * self._manifest.frame_tiers[0].hop
        by_call = values[:, :, :used].reshape(len(values), self._calls, self.clips, -1)
        return by_call.transpose(2, 0, 1, 3).reshape(self.clips, -1)

    def _step(self, direction: int, *, given: bool) -> Sequence[Launch]:
        """Prepare one step of the top tier, and all steps of the lower tiers within it.

        Args:
            direction: 0 reads the second tape and writes the first, 1 the other way round.
            given: whether the codes of the step are given, so that none are drawn.
        """
        manifest, copy = self._manifest, self._runtime.copy_columns
        before, tape = self._tapes[1 - direction], self._tapes[direction]
        work = [copy(tape, 0, before, self.hop, manifest.context)]
        if given:
            work.append(copy(tape, manifest.context, self._given_codes, 0, self.hop))
        self._append_tier(work, direction, len(manifest.frame_tiers), at=0, given=given)
        if not given:
            work.append(copy(self._step_codes, 0, tape, manifest.context, self.hop))
        return work

    def _append_tier(self, work: list[Launch], direction: int, k: int, at: int, *, given: bool) -> None:
        """Append the step of tier k that conditions the samples from `at` on, counted within the top tier's step."""
        manifest, copy = self._manifest, self._runtime.copy_columns
        tier, graph, tape = manifest.frame_tiers[k - 1], self._graphs.frame_tiers[k - 1], self._tapes[direction]
        frame, conditioning_out = self._frames[k - 1], self._conditioning_out[k - 1]
        # Steps of this tier before this one, counted over both directions.
        steps_before = direction * (self.hop // tier.hop) + at // tier.hop
        read, written = self._rnn_states[k - 1][steps_before % 2], self._rnn_states[k - 1][(steps_before + 1) % 2]
        arrays = {**read, **{f"{name}_out": array for name, array in written.items()}}
        if k < len(manifest.frame_tiers):
            arrays["conditioning"] = self._conditioning_in[k - 1]
        work.append(copy(frame, 0, tape, manifest.context + at - tier.frame_size, tier.frame_size))
        work.append(graph.bind({**arrays, "frame": frame, "conditioning_out": conditioning_out}))
        if k == 1:
            if not given:
                self._append_samples(work, direction, at)
            return
        below = manifest.frame_tiers[k - 2]
        for i in range(tier.upsampling):
            work.append(copy(self._conditioning_in[k - 2], 0, conditioning_out, i * manifest.width, manifest.width))
            self._append_tier(work, direction, k - 1, at + i * below.hop, given=given)

    def _append_samples(self, work: list[Launch], direction: int, at: int) -> None:
        """Append the call of the sample tier that draws the samples of one step of the lowest frame tier."""
        manifest, hop, tape = self._manifest, self._manifest.frame_tiers[0].hop, self._tapes[direction]
        copy, now = self._runtime.copy_columns, self._manifest.context + at
        arrays = {
            "conditioning": self._conditioning_out[0],
            "uniform": self._runtime.part(self._uniform_calls, at // hop, [self.clips, hop]),
            "temperature": self._temperature,
            "floor": self._floor,
            "codes": self._codes,
            "nll": self._runtime.part(self._nll_calls, at // hop, [self.clips, hop]),
        }
        history = manifest.sample_tier.history
        if history:
            arrays["history"] = self._frames[0] if self._history is None else self._history
        if self._history is not None:
            work.append(copy(self._history, 0, tape, now - history, history))
        work.append(self._graphs.sample_tier.bind(arrays))
        work.append(copy(tape, now, self._codes, 0, hop))
