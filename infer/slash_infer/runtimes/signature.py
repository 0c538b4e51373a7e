"""The inputs and outputs that a bundle's graphs must have (docs/bundle-format.md), checked before a graph runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slash_infer.bundle import Manifest
from slash_infer.runtimes.protocol import Graph, TensorType

BATCH = "batch"


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs, by name."""

    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]

    def fault(self, graph: Graph[Any]) -> str | None:
        """Return how a graph differs, or None."""
        return _fault(self.inputs, graph.inputs) or _fault(self.outputs, graph.outputs)


def frame_tier_signature(manifest: Manifest, k: int) -> Signature:
    """Return the signature of frame tier k, counted from 1."""
    tier, width = manifest.frame_tiers[k - 1], manifest.width
    state = _floats(tier.layers, BATCH, width)
    inputs = {"frame": TensorType("int32", [BATCH, tier.frame_size]), **dict.fromkeys(tier.state_names, state)}
    if k < len(manifest.frame_tiers):
        inputs["conditioning"] = _floats(BATCH, width)
    out_features = manifest.codec.levels if k == 1 and not manifest.sample_tier.history else width
    outputs = {f"{name}_out": state for name in tier.state_names}
    return Signature(inputs, {**outputs, "conditioning_out": _floats(BATCH, tier.upsampling, out_features)})


def sample_tier_signature(manifest: Manifest) -> Signature:
    """Return the signature of the sample tier."""
    history, hop = manifest.sample_tier.history, manifest.frame_tiers[0].hop
    inputs = {
        "conditioning": _floats(BATCH, hop, manifest.width if history else manifest.codec.levels),
        "uniform": _floats(BATCH, hop),
        "temperature": _floats(BATCH),
        "floor": _floats(BATCH),
    }
    if history:
        inputs["history"] = TensorType("int32", [BATCH, history])
    return Signature(inputs, {"codes": TensorType("int32", [BATCH, hop]), "nll": _floats(BATCH, hop)})


def _floats(*shape: int | str) -> TensorType:
    return TensorType("float32", shape)


def _fault(expected: Mapping[str, TensorType], found: Mapping[str, TensorType]) -> str | None:
    different = sorted(expected.keys() ^ found.keys())
    if different:
        return f"{different[0]} {'is missing' if different[0] in expected else 'is unknown'}"
    for name, tensor in expected.items():
        other = found[name]
        if tensor.dtype != other.dtype or not _fits(tensor.shape, other.shape):
            return f"{name} is {other.dtype} {list(other.shape)}, not {tensor.dtype} {list(tensor.shape)}"
    return None


def _fits(expected: Sequence[Any], found: Sequence[Any]) -> bool:
    """Return whether the axes are the same. The batch is whichever axis is not fixed."""
    return len(expected) == len(found) and all(
        b == a if isinstance(a, int) else not isinstance(b, int) for a, b in zip(expected, found, strict=True)
    )
