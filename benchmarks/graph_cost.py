"""What the graphs of a bundle cost: the products, the bytes of weights, and the operators of a sample."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from slash_infer.bundle import Bundle, Precision

FLOAT_PRODUCTS, INT8_PRODUCTS = ("MatMul", "Gemm"), ("MatMulNBits",)


@dataclass(frozen=True)
class GraphCost:
    """What one graph costs for one sample of one clip: a run of it, divided by the samples that it is run for."""

    float_products: float
    """Multiplications of weights in floating point."""
    int8_products: float
    """Multiplications of quantised weights."""
    weight_bytes: float
    """Of the matrices that are multiplied, each read anew for every product."""
    operators: float
    kept_bytes: int
    """Of the same matrices, once: what has to stay in a cache."""

    @property
    def products(self) -> float:
        """Multiplications of weights of either kind."""
        return self.float_products + self.int8_products


def graph_costs(bundle: Bundle, precision: Precision) -> list[GraphCost]:
    """Count the graphs of a bundle in a precision: the frame tiers', then the sample tier's."""
    variant, hops = bundle.variant(precision), [tier.hop for tier in bundle.manifest.frame_tiers]
    runs = [*zip(variant.frame_tiers, hops, strict=True), (variant.sample_tier, hops[0])]
    return [_counted(onnx.load_from_string(bundle.read(graph)), hop) for graph, hop in runs]


def products_a_sample(costs: Iterable[GraphCost]) -> float:
    """Return the multiplications of weights of all graphs."""
    return sum(one.products for one in costs)


def _counted(model: onnx.ModelProto, samples: int) -> GraphCost:
    stored = {one.name: one for one in model.graph.initializer}
    multiplied: dict[str, int] = {}
    in_float = in_int8 = read = 0
    for node in model.graph.node:
        if node.op_type not in FLOAT_PRODUCTS + INT8_PRODUCTS:
            continue
        weights = [stored[name] for name in node.input[1:] if name in stored]
        multiplied |= {one.name: _bytes(one) for one in weights}
        read += sum(map(_bytes, weights))
        if node.op_type in INT8_PRODUCTS:
            sizes = {attribute.name: attribute.i for attribute in node.attribute}
            in_int8 += sizes["K"] * sizes["N"]
        else:
            in_float += math.prod(weights[0].dims)
    return GraphCost(
        float_products=in_float / samples,
        int8_products=in_int8 / samples,
        weight_bytes=read / samples,
        operators=len(model.graph.node) / samples,
        kept_bytes=sum(multiplied.values()),
    )


def _bytes(stored: onnx.TensorProto) -> int:
    size: int = onnx.helper.tensor_dtype_to_np_dtype(stored.data_type).itemsize
    return size * int(math.prod(stored.dims))
