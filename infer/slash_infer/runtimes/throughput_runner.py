"""Steps a batch of many clips with the kernels of `throughput.cu`, one captured row of launches for each step."""

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np
from typing_extensions import override

from slash_infer.runtimes.cluster_kernel import KernelDevice, StageKernel, filled_up, put
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.kernel_weights import GATES, TILE, KernelWeights, pack, up
from slash_infer.runtimes.protocol import A, Launch, Runner
from slash_infer.runtimes.throughput_plan import (
    GATHER,
    LAYER,
    PRODUCTS,
    ROWS,
    SAMPLES,
    UNIFORMS,
    Call,
    Now,
    Product,
    Shape,
    Stage,
    Vectors,
    stages,
)
from slash_infer.runtimes.uniform_block import Uniform, UniformBlock

PREFILLED = 1024  # samples of a clip at least that are given at once


@dataclass(frozen=True)
class LoadedProduct(Generic[A]):
    """A product with a frame tier's weights."""

    weights: A
    order: A
    bias: A
    steps: int
    recurrent: int


class LoadedWeights(Generic[A]):
    """A model's weights on the device, for any number of clips.

    Args:
        device: where they are put.
        weights: of the model.
    """

    def __init__(self, device: KernelDevice[A], weights: KernelWeights) -> None:
        self._device, self._weights = device, weights
        self.samples = [put(device, tier.samples) for tier in weights.tiers]
        """What frame tiers read for each code."""
        products = {
            (stage.kind, stage.tier, stage.layer) for stage in stages(weights, given=False) if stage.kind in PRODUCTS
        }
        self.products = {key: self._product(*key) for key in products}
        if weights.history:
            layers = np.concatenate([pack(each).reshape(-1) for each in weights.sample_matrices()])
            self.sample_layers, self.sample_biases, self.table = (
                put(device, values) for values in (layers, weights.sample_biases(), weights.table())
            )

    def _product(self, kind: int, k: int, layer: int) -> LoadedProduct[A]:
        product = Product.of(self._weights, kind, k, layer, self._device.threads // 32)
        return LoadedProduct(
            put(self._device, product.weights),
            put(self._device, product.order),
            put(self._device, product.bias),
            len(product.weights),
            product.recurrent,
        )


class ThroughputRunner(Runner, Generic[A]):
    """A batch of clips, all of whose state is on the device.

    Args:
        device: runs the kernels.
        shape: of the kernels.
        kernel: compiled for it.
        loaded: the model's weights.
        state: to begin in, of B clips.
    """

    def __init__(
        self,
        device: KernelDevice[A],
        shape: Shape,
        kernel: StageKernel,
        loaded: LoadedWeights[A],
        state: GenerationState,
    ) -> None:
        self._device, self._shape, self._kernel, self._loaded = device, shape, kernel, loaded
        self._weights = weights = shape.weights
        self.clips, self.hop = len(state.history), weights.tiers[-1].hop
        self.padded_clips = up(self.clips, shape.clip_multiple)
        self.ring = 1 << (weights.context + max(self.hop, PREFILLED)).bit_length()
        self._period = math.lcm(2 * self.hop, self.ring)  # samples after which everything is where it was
        self._now = device.array([ctypes.sizeof(Now)], np.uint8)
        self._tape = device.array([self.padded_clips, self.ring], np.int32)
        rows, width, array = self.padded_clips, weights.width, device.array
        self._places = [Vectors.of(weights, k) for k in range(len(weights.tiers))]
        self._vectors, self._h, self._c, self._upsampled = [], [], [], []
        for k, (tier, places) in enumerate(zip(weights.tiers, self._places, strict=True)):
            self._vectors.append(array([rows, places.stride], np.float16))
            self._h.append(array([len(tier.layers), rows, width], np.float32))
            self._c.append(array([len(tier.layers), rows, width], np.float32))
            kind = np.float16 if k else np.float32
            self._upsampled.append(array([rows, tier.upsampling, weights.out_width(k)], kind))
        self._steps = dict[bool, Launch]()
        self._position, self._history = 0, state.history
        self.set_state(state)

    @override
    def state(self) -> GenerationState:
        real, rnn_states = self._weights.real_width, []
        for tier, *both in zip(self._weights.tiers, self._h, self._c, strict=True):
            names = ("h",) if tier.cell == "gru" else ("h", "c")
            values = (self._device.get(array)[:, : self.clips, :real].copy() for array in both[: len(names)])
            rnn_states.append(dict(zip(names, values, strict=True)))
        return GenerationState(self._history.copy(), rnn_states)

    @override
    def set_state(self, state: GenerationState) -> None:
        device, width = self._device, self._weights.width
        self._position = 0
        self._put_codes(state.history)
        for k, tier_state in enumerate(state.rnn_states):
            layers = len(tier_state["h"])
            for name, to in (("h", self._h[k]), ("c", self._c[k])):
                values = np.zeros((layers, self.padded_clips, width), np.float32)
                if name in tier_state:
                    values[:, : self.clips, : self._weights.real_width] = tier_state[name]
                device.put(to, values)
            vectors = np.zeros((self.padded_clips, self._places[k].stride), np.float16)
            last = vectors[: self.clips, self._places[k].output(0, side=1) :].reshape(self.clips, layers + 1, width)
            last[:, :layers, : self._weights.real_width] = tier_state["h"].swapaxes(0, 1)
            device.put(self._vectors[k], vectors)

    @override
    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        device, steps = self._device, temperature.shape[1]
        arrays = {
            "temperature": put(self._device, filled_up(temperature, self.padded_clips)),
            "codes": device.array([self.padded_clips, steps * self.hop], np.int32),
            "nll": device.array([self.padded_clips, steps * self.hop], np.float32),
        }
        if isinstance(uniform, UniformBlock):
            arrays["uniform"] = device.array([self.padded_clips, steps * self.hop], np.float32)
            self._make_uniforms(uniform, arrays["uniform"])
        else:
            arrays["uniform"] = put(self._device, filled_up(uniform, self.padded_clips))
        self._run(steps, arrays, given=False, floor=floor)
        codes, nll = (device.get(arrays[name])[: self.clips] for name in ("codes", "nll"))
        self._history = np.concatenate([self._history, codes], axis=1)[:, codes.shape[1] :]
        return Generated(codes, nll)

    @override
    def prefill(self, codes: Int32) -> None:
        at_once = (self.ring - self._weights.context) // self.hop * self.hop
        for first in range(0, codes.shape[1], at_once):
            some = codes[:, first : first + at_once]
            self._put_codes(np.concatenate([self._history, some], axis=1))
            self._run(some.shape[1] // self.hop, {}, given=True)

    def _run(self, steps: int, arrays: Mapping[str, A], *, given: bool, floor: float = 0.0) -> None:
        if given not in self._steps:
            launches = [self.launch(stage) for stage in stages(self._weights, given=given)]
            self._steps[given] = self._device.capture(launches)
        step = self._steps[given]
        self.request(steps, arrays, floor)
        for _ in range(steps):
            step()
        self._position += steps * self.hop

    def request(self, steps: int, arrays: Mapping[str, A], floor: float) -> None:
        """Say what the next steps read and write: arrays by the names of `Now`, of all rows."""
        addresses = {name: self._device.address(array) for name, array in arrays.items()}
        now = Now(position=self._position % self._period, count=steps * self.hop, floor=floor, **addresses)
        self._device.put(self._now, np.frombuffer(bytes(now), np.uint8))

    def launch(self, stage: Stage) -> Launch:
        """Return the launch of a stage."""
        weights, address, k = self._weights, self._device.address, stage.tier
        tier, places = weights.tiers[k], self._places[k]
        call = Call(kind=stage.kind, clips=self.padded_clips, at=stage.at, hop=tier.hop, is_gru=tier.cell == "gru")
        call.now, call.tape, call.ring = address(self._now), address(self._tape), self.ring - 1
        call.vectors, call.stride = address(self._vectors[k]), places.stride
        call.out_stride = tier.upsampling * weights.out_width(k)
        if stage.kind == GATHER:
            call.frame, call.frame_columns = tier.frame_size, up(tier.frame_size, TILE)
            call.samples = address(self._loaded.samples[k])
            if not tier.is_top:
                above = weights.tiers[k + 1]
                row = stage.at % above.hop // tier.hop
                call.above = address(self._upsampled[k + 1]) + 2 * row * weights.width
                call.out_stride = above.upsampling * weights.width
        elif stage.kind == SAMPLES:
            call.conditioning = address(self._upsampled[0])
            if weights.history:
                loaded = self._loaded
                call.weights, call.bias = address(loaded.sample_layers), address(loaded.sample_biases)
                call.table = address(loaded.table)
        elif stage.kind in PRODUCTS:
            self._set_product(call, stage)
        return self._kernel.bind(call, self._shape.blocks(stage.kind, self.padded_clips, call.row_tiles))

    def _set_product(self, call: Call, stage: Stage) -> None:
        k, layer, address = stage.tier, stage.layer, self._device.address
        places = self._places[k]
        product = self._loaded.products[stage.kind, k, layer]
        call.weights, call.order, call.bias = map(address, (product.weights, product.order, product.bias))
        call.recurrent, call.columns = product.recurrent, product.steps - product.recurrent
        if stage.kind == ROWS:
            call.row_tiles = call.out_stride // TILE
            setattr(call, "upsampled" if k else "conditioning", address(self._upsampled[k]))
            return
        is_layer = stage.kind == LAYER
        call.row_tiles = (GATES if is_layer else 1) * places.width // TILE
        call.to = places.output(layer if is_layer else len(self._weights.tiers[k].layers))
        call.to_side = places.side
        of_layer = 4 * layer * self.padded_clips * places.width
        call.h, call.c = address(self._h[k]) + of_layer, address(self._c[k]) + of_layer

    def _make_uniforms(self, uniform: UniformBlock, to: A) -> None:
        keys = put(self._device, filled_up(uniform.keys(), self.padded_clips))
        call = Call(kind=UNIFORMS, clips=self.padded_clips, count=uniform.count, start=uniform.start)
        call.keys, call.uniform = self._device.address(keys), self._device.address(to)
        self._kernel.bind(call, self.padded_clips)()

    def _put_codes(self, codes: Int32) -> None:
        """Put codes onto the tape: the context, and what is given to hear next."""
        context = self._weights.context
        tape = np.zeros((self.padded_clips, self.ring), np.int32)
        tape[: self.clips, (self._position + np.arange(codes.shape[1]) - context) % self.ring] = codes
        self._device.put(self._tape, tape)
        self._history = codes[:, codes.shape[1] - context :].copy()
