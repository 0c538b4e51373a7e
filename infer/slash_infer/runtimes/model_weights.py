"""The weights of a bundle's model, read from its graphs by the names that docs/bundle-format.md gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle, FileEntry, Manifest, Precision
from slash_infer.bundle.onnx_file import read_weights
from slash_infer.errors import UserError

Array = npt.NDArray[Any]
"""In the precision of the graphs."""

GATES = {"lstm": 4, "gru": 3}
OFFSETS = "table_offsets"  # a constant of the sample tier


@dataclass(frozen=True)
class LayerWeights:
    """A recurrent layer with G gates."""

    input_weight: Array
    """[G * D, inputs]."""
    hidden_weight: Array
    """[G * D, D]."""
    input_bias: Array
    """[G * D]."""
    hidden_bias: Array
    """[G * D]; zeros for an LSTM, whose graph has the sum of both."""


@dataclass(frozen=True)
class FrameTierWeights:
    """A frame tier, with all that determines how it steps."""

    cell: Literal["lstm", "gru"]
    layers: list[LayerWeights]
    skip: tuple[Array, Array] | None
    """Weight [L * D, D] and bias [D], of the outputs of all layers."""
    upsample: tuple[Array, Array]
    """Weight [D, r * out_features] and bias."""
    samples: Array
    """float32 [Q], what the tier reads for each code."""
    width: int
    """D."""
    frame_size: int
    hop: int
    upsampling: int
    out_features: int
    """Of each output vector: D, or Q where there is no sample tier."""
    is_top: bool


@dataclass(frozen=True)
class SampleTierWeights:
    """The sample tier."""

    table: Array
    """[H, Q, D]."""
    hidden: list[tuple[Array, Array]]
    """Weights [D, D], to multiply from the right, and biases [D]."""
    output: tuple[Array, Array]
    """Weight [D, Q] and bias [Q]."""


def read_model_weights(
    bundle: Bundle, precision: Precision
) -> tuple[list[FrameTierWeights], SampleTierWeights | None]:
    """Return the frame tiers, the lowest first, and the sample tier, if the model has one.

    Args:
        bundle: holds the graphs.
        precision: fp32 or fp16; int8 weights are stored in another way.

    Raises:
        UserError: the bundle has no such precision, or a graph has other weights than those the manifest implies.
    """
    manifest, variant = bundle.manifest, bundle.variant(precision)
    tiers = [_frame_tier(manifest, k, GraphWeights(bundle, entry)) for k, entry in enumerate(variant.frame_tiers)]
    weights = GraphWeights(bundle, variant.sample_tier)
    return tiers, _sample_tier(manifest, weights) if manifest.sample_tier.history else None


class GraphWeights:
    """The weights of one graph, of which every one must be taken.

    Args:
        bundle: holds the graph.
        entry: the graph.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, bundle: Bundle, entry: FileEntry) -> None:
        self.path: Path = bundle.path / entry.file
        try:
            self._left = read_weights(bundle.read(entry))
        except ValueError as error:
            raise UserError(self.path, f"cannot be read ({error})", "export the bundle again") from None

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, shape: Sequence[int], kind: str = "f") -> Array:
        """Return a weight of this shape and kind of numbers, `f` or `u`, as numpy has it."""
        found = self._left.pop(name, None)
        if found is None or found.dtype.kind != kind or found.shape != tuple(shape):
            what = "has no" if found is None else f"has {found.dtype} {list(found.shape)} as"
            raise UserError(
                self.path,
                f"{what} weight {name} of shape {list(shape)}",
                "use another `engine`, which runs any graph",
            )
        return found

    def block_of(self, name: str) -> int:
        """Return the size of a weight's last axis, of those that were not taken yet; 1 if there is no such weight."""
        found = self._left.get(name)
        return 1 if found is None or not found.ndim else max(1, found.shape[-1])

    def linear(self, name: str, inputs: int, outputs: int) -> tuple[Array, Array]:
        """Return weight [inputs, outputs] and bias [outputs] of a linear layer."""
        return self.take(f"{name}.weight", [inputs, outputs]), self.take(f"{name}.bias", [outputs])

    def finish(self) -> None:
        """Check that there is no other weight."""
        for name, values in self._left.items():
            if values.ndim and name != OFFSETS:
                raise UserError(
                    self.path, f"has an unknown weight {name}", "use another `engine`, which runs any graph"
                )


def _frame_tier(manifest: Manifest, index: int, weights: GraphWeights) -> FrameTierWeights:
    tier, width = manifest.frame_tiers[index], manifest.width
    is_top = index == len(manifest.frame_tiers) - 1
    inputs = tier.frame_size + (0 if is_top else width)
    has_skip = "skip.weight" in weights
    sizes = [inputs, *[width + (inputs if has_skip else 0)] * (tier.layers - 1)]
    out_features = width if index or manifest.sample_tier.history else manifest.codec.levels
    found = FrameTierWeights(
        cell=tier.cell,
        layers=[_layer(weights, f"layer_{i}", tier.cell, size, width) for i, size in enumerate(sizes)],
        skip=weights.linear("skip", tier.layers * width, width) if has_skip else None,
        upsample=weights.linear("upsample", width, tier.upsampling * out_features),
        samples=weights.take("samples", [manifest.codec.levels]),
        width=width,
        frame_size=tier.frame_size,
        hop=tier.hop,
        upsampling=tier.upsampling,
        out_features=out_features,
        is_top=is_top,
    )
    weights.finish()
    return found


def _layer(weights: GraphWeights, name: str, cell: str, inputs: int, width: int) -> LayerWeights:
    outputs = GATES[cell] * width
    if cell == "lstm":
        both, bias = weights.linear(name, inputs + width, outputs)
        return LayerWeights(both[:inputs].T, both[inputs:].T, bias, np.zeros_like(bias))
    (from_x, x_bias), (from_h, h_bias) = (
        weights.linear(f"{name}.{kind}", size, outputs) for kind, size in (("input", inputs), ("hidden", width))
    )
    return LayerWeights(from_x.T, from_h.T, x_bias, h_bias)


def _sample_tier(manifest: Manifest, weights: GraphWeights) -> SampleTierWeights:
    history, levels, width = manifest.sample_tier.history, manifest.codec.levels, manifest.width
    hidden = list[tuple[Array, Array]]()
    while f"hidden_{len(hidden)}.weight" in weights:
        hidden.append(weights.linear(f"hidden_{len(hidden)}", width, width))
    table = weights.take("table", [history * levels, width]).reshape(history, levels, width)
    found = SampleTierWeights(table, hidden, weights.linear("output", width, levels))
    weights.finish()
    return found
