"""Runs a bundle's tiers on a runtime: the graphs are opened once, and players carry their clips through time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle, FileEntry, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.protocol import Graph, Launch, Runtime
from slash_infer.sampling.generation_state import Float32, Generated, GenerationState, Int32
from slash_infer.sampling.signature import Signature, frame_tier_signature, sample_tier_signature

ALIGNMENT = 64  # numbers: 256 bytes, as TensorRT wants addresses


class Engine:
    """A bundle opened on a runtime in one precision.

    Args:
        bundle: whose graphs to run. They are opened from the verified bytes.
        runtime: where.
        precision: of the graphs.

    Raises:
        UserError: the bundle has no such precision, or the runtime rejects a graph.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime[Any], precision: Precision = "fp32") -> None:
        variant = bundle.variant(precision)
        self.manifest = bundle.manifest
        self.runtime = runtime
        self.precision = precision

        def opened(entry: FileEntry, signature: Signature) -> Graph[Any]:
            path = bundle.path / entry.file
            graph = runtime.load(bundle.read(entry), str(path), self.manifest.width)
            fault = signature.fault(graph)
            if fault is not None:
                raise UserError(path, f"does not fit the manifest ({fault})", "export the bundle again")
            return graph

        self.frame_tiers = [
            opened(entry, frame_tier_signature(self.manifest, k)) for k, entry in enumerate(variant.frame_tiers, 1)
        ]
        self.sample_tier = opened(variant.sample_tier, sample_tier_signature(self.manifest))
        self._initial = [bundle.initial_state(tier) for tier in self.manifest.frame_tiers]
        self._idle: dict[int, list[BatchRunner]] = {}

    @property
    def description(self) -> str:
        """What runs where, for people and sidecars."""
        return f"{self.runtime.description}, {self.precision}"

    def beginning(self, clips: int) -> GenerationState:
        """Return where `clips` clips begin: the learned initial state, after silence."""
        return GenerationState(self.manifest.silence(clips), self.initial_states(clips))

    def initial_states(self, clips: int) -> list[dict[str, Float32]]:
        """Return each frame tier's learned initial state for `clips` clips, by the graph's names, [L, clips, D]."""
        return [
            {
                name: np.repeat(part[:, np.newaxis], clips, axis=1)
                for name, part in zip(tier.state_names, initial, strict=True)
            }
            for tier, initial in zip(self.manifest.frame_tiers, self._initial, strict=True)
        ]

    def player(self, clips: int) -> "BatchRunner":
        """Return a player of `clips` clips, side by side, at their beginning."""
        idle = self._idle.get(clips)
        if not idle:
            return BatchRunner(self, clips)
        player = idle.pop()
        player.go_to(self.beginning(clips))
        return player

    def release(self, players: Sequence["BatchRunner"]) -> None:
        """Keep players that nobody uses any more for the next who asks: preparing one takes time and memory."""
        for player in players:
            self._idle.setdefault(player.clips, []).append(player)

    def rows_for(self, clips: int) -> int:
        """Return how many clips to play for `clips` of them to come out as in any batch: as many, or a few more."""
        at_once = self.runtime.batch_multiple(self.precision)
        return -(-clips // at_once) * at_once

    def shares(self, rows: int) -> list[int]:
        """Return how many of `rows` clips each of several players, on threads of their own, had best play."""
        at_once = 1 if rows == 1 else self.runtime.batch_multiple(self.precision)
        threads = self.runtime.threads(rows, self.manifest.width)
        return [at_once * len(share) for share in np.array_split(np.arange(rows // at_once), threads)]


class BatchRunner:
    """A batch of clips on their way: the RNN state, the last codes, and a step of the top tier, prepared.

    Everything stays where the runtime runs. State and codes alternate between two buffers, so a step is prepared
    twice, once in each direction. A step that only listens, to codes that are given, is prepared when it is needed.

    Args:
        engine: whose graphs to run.
        clips: B, how many clips are played side by side.
    """

    def __init__(self, engine: Engine, clips: int) -> None:
        self._engine, self._runtime, self.clips, self.hop = engine, engine.runtime, clips, engine.manifest.top_hop
        self._manifest = manifest = engine.manifest
        lowest, hop, width = manifest.frame_tiers[0], manifest.top_hop, manifest.width
        array = self._runtime.array
        self._calls = hop // lowest.hop  # of the sample tier in a step of the top tier
        self._padded = -(-clips * lowest.hop // ALIGNMENT) * ALIGNMENT  # uniforms of one call, with what fills up
        self._tapes = [array([clips, manifest.top_frame + hop], np.int32) for _ in range(2)]  # history, then codes
        self._states = [
            [{name: array([tier.layers, clips, width], np.float32) for name in tier.state_names} for _ in range(2)]
            for tier in manifest.frame_tiers
        ]
        self._frames = [array([clips, tier.frame_size], np.int32) for tier in manifest.frame_tiers]
        self._conditioning = [array([clips, width], np.float32) for _ in manifest.frame_tiers[:-1]]
        self._made = [
            array([clips, *graph.outputs["conditioning_out"].shape[1:]], np.float32) for graph in engine.frame_tiers
        ]
        self._codes = array([clips, lowest.hop], np.int32)
        self._uniform, self._uniform_calls = self._in_and_whole([self._calls, self._padded], np.float32)
        self._nll, self._nll_calls = self._in_and_whole([self._calls, self._padded], np.float32)
        self._tempered, self._temperature = self._in_and_whole([clips], np.float32)
        self._out, self._out_codes = self._in_and_whole([clips, hop], np.int32)
        self._steps = [self._runtime.record(self._prepare(direction)) for direction in range(2)]
        self._given: Any = None
        self._listening: list[Launch] = []
        self._direction = 0
        self.go_to(engine.beginning(clips))

    def go_to(self, moment: GenerationState) -> None:
        """Put every clip where `moment` has it."""
        self._direction = 0
        unread = np.zeros((self.clips, self._manifest.top_hop), np.int32)
        self._runtime.put(self._tapes[1], np.concatenate([unread, moment.history], axis=1))
        for states, values in zip(self._states, moment.states, strict=True):
            for name, state in values.items():
                self._runtime.put(states[0][name], state)

    def moment(self) -> GenerationState:
        """Return where every clip is now."""
        manifest, get = self._manifest, self._runtime.get
        states = [
            {name: get(state) for name, state in both[self._direction * (manifest.top_hop // tier.hop) % 2].items()}
            for tier, both in zip(manifest.frame_tiers, self._states, strict=True)
        ]
        return GenerationState(get(self._tapes[1 - self._direction])[:, manifest.top_hop :], states)

    def play(self, uniform: Float32, temperature: Float32) -> Generated:
        """Go on by some steps of the top tier.

        Args:
            uniform: [B, T], one draw per sample; T a multiple of the top tier's hop.
            temperature: [B, T / hop], divides each clip's logits in each step.

        Returns:
            what was drawn, and how likely it was.
        """
        runtime, hop = self._runtime, self._manifest.top_hop
        steps = temperature.shape[1]
        uniforms = self._on_device(self._by_call(uniform, steps))
        temperatures = self._on_device(temperature.T)
        codes = runtime.array([steps, self.clips, hop], np.int32)
        nll = runtime.array([steps, self._calls, self._padded], np.float32)
        for step in range(steps):
            runtime.copy_row(self._uniform, 0, uniforms, step)
            runtime.copy_row(self._tempered, 0, temperatures, step)
            self._steps[self._direction]()
            runtime.copy_row(codes, step, self._out, 0)
            runtime.copy_row(nll, step, self._nll, 0)
            self._direction = 1 - self._direction
        return Generated(runtime.get(codes).swapaxes(0, 1).reshape(self.clips, -1), self._by_clip(runtime.get(nll)))

    def listen(self, codes: Int32) -> None:
        """Go on by some steps of the top tier over codes that are given, through the frame tiers alone.

        Args:
            codes: [B, T], T a multiple of the top tier's hop.
        """
        if not self._listening:
            moment = self.moment()
            self._given, given = self._in_and_whole([self.clips, self._manifest.top_hop], np.int32)
            self._listening = [self._runtime.record(self._prepare(direction, given)) for direction in range(2)]
            self.go_to(moment)  # recording may have run it
        rows = self._on_device(codes.reshape(self.clips, -1, self._manifest.top_hop).swapaxes(0, 1))
        for step in range(codes.shape[1] // self._manifest.top_hop):
            self._runtime.copy_row(self._given, 0, rows, step)
            self._listening[self._direction]()
            self._direction = 1 - self._direction

    def _in_and_whole(self, shape: Sequence[int], dtype: npt.DTypeLike) -> tuple[Any, Any]:
        """Return a new array twice: as the one row of a table, to copy rows from and to, and by itself."""
        row = self._runtime.array([1, *shape], dtype)
        return row, self._runtime.part(row, 0, shape)

    def _on_device(self, values: npt.NDArray[Any]) -> Any:
        array = self._runtime.array(values.shape, values.dtype)
        self._runtime.put(array, values)
        return array

    def _by_call(self, uniform: Float32, steps: int) -> Float32:
        """Arrange uniforms, [B, T], call by call: [steps, calls, B * hop(1), filled up]."""
        by_call = uniform.reshape(self.clips, steps, self._calls, -1).transpose(1, 2, 0, 3)
        flat = by_call.reshape(steps, self._calls, -1)
        return np.pad(flat, ((0, 0), (0, 0), (0, self._padded - flat.shape[2])))

    def _by_clip(self, values: Float32) -> Float32:
        """The way back."""
        used = self.clips * self._manifest.frame_tiers[0].hop
        by_call = values[:, :, :used].reshape(len(values), self._calls, self.clips, -1)
        return by_call.transpose(2, 0, 1, 3).reshape(self.clips, -1)

    def _prepare(self, direction: int, given: Any = None) -> Sequence[Launch]:
        """Prepare one step of the top tier and all that it makes happen below.

        Args:
            direction: 0 from the second tape to the first, 1 back.
            given: codes to listen to, [B, hop]; without them they are drawn.
        """
        manifest, copy = self._manifest, self._runtime.copy_columns
        before, tape = self._tapes[1 - direction], self._tapes[direction]
        work = [copy(tape, 0, before, manifest.top_hop, manifest.top_frame)]
        if given is not None:
            work.append(copy(tape, manifest.top_frame, given, 0, manifest.top_hop))
        draw = given is None
        self._prepare_tier(work, tape, direction, len(manifest.frame_tiers), at=0, draw=draw)
        if draw:
            work.append(copy(self._out_codes, 0, tape, manifest.top_frame, manifest.top_hop))
        return work

    def _prepare_tier(self, work: list[Launch], tape: Any, direction: int, k: int, at: int, *, draw: bool) -> None:
        """Prepare the step of tier k that conditions the samples from `at` on, counted from the top tier's step."""
        manifest, copy = self._manifest, self._runtime.copy_columns
        tier, graph = manifest.frame_tiers[k - 1], self._engine.frame_tiers[k - 1]
        frame, made = self._frames[k - 1], self._made[k - 1]
        done = direction * (manifest.top_hop // tier.hop) + at // tier.hop  # steps of this tier, counted over both
        now, then = self._states[k - 1][done % 2], self._states[k - 1][(done + 1) % 2]
        arrays = {**now, **{f"{name}_out": array for name, array in then.items()}}
        if k < len(manifest.frame_tiers):
            arrays["conditioning"] = self._conditioning[k - 1]
        work.append(copy(frame, 0, tape, manifest.top_frame + at - tier.frame_size, tier.frame_size))
        work.append(graph.bind({**arrays, "frame": frame, "conditioning_out": made}))
        if k == 1:
            if draw:
                self._prepare_samples(work, tape, at)
            return
        below = manifest.frame_tiers[k - 2]
        for i in range(tier.upsampling):
            work.append(copy(self._conditioning[k - 2], 0, made, i * manifest.width, manifest.width))
            self._prepare_tier(work, tape, direction, k - 1, at + i * below.hop, draw=draw)

    def _prepare_samples(self, work: list[Launch], tape: Any, at: int) -> None:
        """Prepare the samples of one step of the lowest frame tier."""
        manifest, hop = self._manifest, self._manifest.frame_tiers[0].hop
        arrays = {
            "conditioning": self._made[0],
            "uniform": self._runtime.part(self._uniform_calls, at // hop, [self.clips, hop]),
            "temperature": self._temperature,
            "codes": self._codes,
            "nll": self._runtime.part(self._nll_calls, at // hop, [self.clips, hop]),
        }
        if manifest.sample_tier.history:
            arrays["history"] = self._frames[0]
        work.append(self._engine.sample_tier.bind(arrays))
        work.append(self._runtime.copy_columns(tape, manifest.top_frame + at, self._codes, 0, hop))
