"""A bundle's weights as `compiled.c` has them: by tiles of outputs, in float or in 8 bits."""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle, FrameTierEntry, Precision
from slash_infer.runtimes.compiled_library import Layer, Linear, Matrix, Model, Tier
from slash_infer.runtimes.model_weights import GATES, GraphWeights

Array = npt.NDArray[Any]

EXACT = "exact_weight"
"""Of a layer in int8: weights of the samples of a frame, which stay float32."""
ZERO = 128  # of integers, which the graphs have without a sign


class PackedModel:
    """A model's weights, which live as long as this object.

    Args:
        bundle: whose model to pack.
        precision: fp32 or int8.
        tile: what numbers of outputs are padded to a multiple of.

    Raises:
        UserError: the bundle has no such precision, or a graph has other weights than those the manifest implies.
    """

    def __init__(self, bundle: Bundle, precision: Precision, tile: int) -> None:
        self._bundle, self._tile, self._kept = bundle, tile, list[Any]()
        manifest, variant = bundle.manifest, bundle.variant(precision)
        self.width, self.levels, history = manifest.width, manifest.codec.levels, manifest.sample_tier.history
        self._longest = max(self.width, 0 if history else self.levels)
        tiers = [self._tier(k, GraphWeights(bundle, entry)) for k, entry in enumerate(variant.frame_tiers)]
        weights = GraphWeights(bundle, variant.sample_tier)
        hidden = list[Linear]()
        model = Model(count=len(tiers), history=history, levels=self.levels, width=self.width)
        if history:
            while f"hidden_{len(hidden)}.weight" in weights:
                hidden.append(self._linear(weights, f"hidden_{len(hidden)}", self.width, self.width))
            table = weights.take("table", [history * self.levels, self.width])
            model.table, model.layers = self._keep(table), len(hidden)
            model.output = self._linear(weights, "output", self.width, self.levels)
        weights.finish()
        model.tiers, model.hidden = self._array(Tier, tiers), self._array(Linear, hidden)
        model.stride = self._longest + tile
        self.upsampled = [tier.upsample.padded for tier in tiers]
        """Numbers of conditioning that a step of each tier makes for a clip, and of what fills them up."""
        self.model = model
        """For `Library.generate`."""

    def _tier(self, index: int, weights: GraphWeights) -> Tier:
        manifest, width = self._bundle.manifest, self.width
        tier, has_skip = manifest.frame_tiers[index], "skip.weight" in weights
        conditioning = 0 if index == len(manifest.frame_tiers) - 1 else width
        out_features = width if index or manifest.sample_tier.history else self.levels
        layers = [
            self._layer(
                weights,
                f"layer_{i}",
                tier,
                below=width if i else 0,
                frame=tier.frame_size if has_skip or not i else 0,
                conditioning=conditioning if has_skip or not i else 0,
            )
            for i in range(tier.layers)
        ]
        packed = Tier(
            layers=self._array(Layer, layers),
            skip=self._linear(weights, "skip", tier.layers * width, width) if has_skip else Linear(),
            upsample=self._linear(weights, "upsample", width, tier.upsampling * out_features, in_scratch=False),
            samples=self._keep(weights.take("samples", [self.levels])),
            count=tier.layers,
            frame=tier.frame_size,
            hop=tier.hop,
            upsampling=tier.upsampling,
            out_features=out_features,
            gru=tier.cell == "gru",
            skips=has_skip,
        )
        weights.finish()
        return packed

    def _layer(
        self, weights: GraphWeights, name: str, tier: FrameTierEntry, *, below: int, frame: int, conditioning: int
    ) -> Layer:
        """Return a layer, whose inputs have the frame first: in the graphs, what comes from below is before it."""
        outputs = GATES[tier.cell] * self.width
        if tier.cell == "lstm":
            inputs = below + frame + conditioning + self.width
            return Layer(input=self._linear(weights, name, inputs, outputs, frame=slice(below, below + frame)))
        inputs, frames = below + frame + conditioning, slice(below, below + frame)
        return Layer(
            input=self._linear(weights, f"{name}.input", inputs, outputs, frame=frames),
            hidden=self._linear(weights, f"{name}.hidden", self.width, outputs),
        )

    def _linear(
        self,
        weights: GraphWeights,
        name: str,
        inputs: int,
        outputs: int,
        *,
        frame: slice = slice(0, 0),
        in_scratch: bool = True,
    ) -> Linear:
        """Pack a linear layer.

        Args:
            weights: of its graph.
            name: prefix of its weights.
            inputs: how many it has.
            outputs: how many it has.
            frame: which of the inputs are samples of a frame. They come first in what is packed.
            in_scratch: whether its outputs are put where rows are computed.
        """
        linear = Linear(padded=-(-outputs // self._tile) * self._tile)
        self._longest = max(self._longest, inputs, linear.padded if in_scratch else 0)
        samples = frame.stop - frame.start
        if samples and f"{name}.{EXACT}" in weights:
            linear.exact = self._matrix(weights.take(f"{name}.{EXACT}", [samples, outputs]))
            inputs, samples = inputs - samples, 0
        if inputs and f"{name}.scales" in weights:
            linear.weight = self._quantised(weights, name, inputs, outputs)
        elif inputs:
            weight = weights.take(f"{name}.weight", [inputs, outputs])
            first = weight[frame] if samples else weight[:0]
            rest = np.delete(weight, np.arange(frame.start, frame.start + samples), axis=0)
            linear.weight = self._matrix(np.concatenate([first, rest]))
        linear.bias = self._keep(self._padded(weights.take(f"{name}.bias", [outputs])))
        return linear

    def _matrix(self, weight: Array) -> Matrix:
        tiles = self._tiles(weight.astype(np.float32))
        return Matrix(weight=self._keep(tiles), inputs=len(weight), block=max(1, len(weight)))

    def _quantised(self, weights: GraphWeights, name: str, inputs: int, outputs: int) -> Matrix:
        """Pack a weight that `MatMulNBits` multiplies with, without the zeros that fill its last block up."""
        block = weights.block_of(f"{name}.weight")
        blocks = -(-inputs // block)
        integers = weights.take(f"{name}.weight", [outputs, blocks, block], kind="u")
        scales = weights.take(f"{name}.scales", [outputs, blocks])
        signed = (integers.reshape(outputs, -1)[:, :inputs].astype(np.int16) - ZERO).astype(np.int8).T
        return Matrix(
            integers=self._keep(self._tiles(signed), np.int8),
            scales=self._keep(self._padded(scales.T)),
            inputs=inputs,
            block=block,
        )

    def _tiles(self, weight: Array) -> Array:
        """Return [outputs / tile, inputs, tile] of [inputs, outputs]."""
        padded = self._padded(weight)
        return padded.reshape(len(weight), padded.shape[1] // self._tile, self._tile).swapaxes(0, 1)

    def _padded(self, values: Array) -> Array:
        """Pad the last axis, of outputs, with zeros."""
        return np.pad(values, [*[(0, 0)] * (values.ndim - 1), (0, -values.shape[-1] % self._tile)])

    def _array(self, kind: Any, values: list[Any]) -> Any:
        array = (kind * len(values))(*values)
        self._kept.append(array)
        return ctypes.cast(array, ctypes.POINTER(kind))

    def _keep(self, values: Array, dtype: npt.DTypeLike = np.float32) -> int:
        kept = np.array(values, dtype, order="C")
        self._kept.append(kept)
        return kept.ctypes.data
