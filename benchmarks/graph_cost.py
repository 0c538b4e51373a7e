"""What one generated sample costs: the products and the bytes of weights, counted in a bundle's graphs."""

import math
from dataclasses import dataclass

import numpy as np
import onnx

from slash_infer.bundle import Bundle, Precision

PRODUCTS = ("MatMul", "Gemm", "MatMulNBits")


@dataclass(frozen=True)
class GraphCost:
    """For one sample of one clip; a frame tier's step is shared by the samples of its hop."""

    products: float
    """Multiplications of weights."""
    weight_bytes: float
    """Of the matrices that are multiplied, if each is read anew for every product, and of the rows of the table."""
    operators: float
    """Nodes of the graphs that are run."""
    kept_bytes: int
    """Of all matrices that are multiplied: what has to stay in a cache."""


def graph_cost(bundle: Bundle, precision: Precision) -> GraphCost:
    """Count the graphs of a bundle in a precision."""
    manifest, variant = bundle.manifest, bundle.variant(precision)
    hops = [tier.hop for tier in manifest.frame_tiers]
    runs = [(graph, hop) for graph, hop in zip(variant.frame_tiers, hops, strict=True)]
    if variant.sample_tier is not None:
        runs.append((variant.sample_tier, hops[0]))
    counted = [(_counted(onnx.load_from_string(bundle.read(graph))), hop) for graph, hop in runs]
    return GraphCost(
        products=sum(one.products / hop for one, hop in counted),
        weight_bytes=sum(one.weight_bytes / hop for one, hop in counted),
        operators=sum(one.operators / hop for one, hop in counted),
        kept_bytes=sum(one.kept_bytes for one, _ in counted),
    )


def _counted(model: onnx.ModelProto) -> GraphCost:
    """Count a run of a graph for one clip."""
    stored = {one.name: one for one in model.graph.initializer}
    products = read = 0
    multiplied: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            weights = [stored[name] for name in node.input[1:] if name in stored]
            read += sum(_bytes(one) for one in weights)
            multiplied |= {one.name: _bytes(one) for one in weights}
            products += math.prod(weights[0].dims)
        elif node.op_type == "Gather" and node.input[0] in stored:
            table = stored[node.input[0]]
            read += _bytes(table) // table.dims[0]
    return GraphCost(products, read, len(model.graph.node), sum(multiplied.values()))


def _bytes(stored: onnx.TensorProto) -> int:
    of_one: int = onnx.helper.tensor_dtype_to_np_dtype(stored.data_type).itemsize
    return of_one * int(np.prod(stored.dims))
