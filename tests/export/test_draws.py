"""Draws inside the graphs: which codes they give, and how often, with and without a floor."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest

from slash_export.graphs import drawing_graph
from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.sampling.floor import as_floor, highest_floor

Array = npt.NDArray[Any]


def run(graph: onnx.ModelProto, feed: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return codes and likelihoods."""
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    codes, nll = session.run(["codes", "nll"], dict(feed))
    return codes, nll


def draw(logits: Array, uniform: Array, floor: float, temperature: float = 1.0) -> tuple[Array, Array]:
    """Draw from the same logits [Q] with each of the uniforms [N]; return codes and likelihoods, [N]."""
    rows = len(uniform)
    codes, nll = run(
        drawing_graph(1, len(logits)),
        {
            "conditioning": np.broadcast_to(logits.astype(np.float32), (rows, 1, len(logits))),
            "uniform": uniform.astype(np.float32)[:, None],
            "temperature": np.full(rows, temperature, np.float32),
            "floor": np.full(rows, floor, np.float32),
        },
    )
    return codes[:, 0], nll[:, 0]


def softmax(logits: Array) -> Array:
    p = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(p / p.sum())


def stratified(count: int) -> Array:
    """Return uniforms, each quantile once."""
    return (np.arange(count) + 0.5) / count


@pytest.mark.parametrize(("seed", "floor"), [(0, 0.0005), (1, 0.002), (2, 0.0035)])
def test_what_the_floor_leaves_is_drawn_as_often_as_it_is_likely(seed: int, floor: float) -> None:
    """Of a peaky distribution, which has codes under the floor and over it."""
    logits = np.random.default_rng(seed).normal(scale=3, size=256).astype(np.float32)
    p, count = softmax(logits), 20_000
    left = np.maximum(p - floor, 0)
    codes, nll = draw(logits, stratified(count), floor)
    assert (np.diff(codes) >= 0).all()
    counts = np.bincount(codes, minlength=256)
    assert len(counts) == 256 and np.abs(counts - count * left / left.sum()).max() < 2
    assert (p > floor).sum() > 10 and p[p <= floor].sum() > 0.01 and not counts[p <= floor - 1e-7].any()
    assert np.allclose(nll, -np.log(p[codes]), atol=1e-5)  # of the distribution itself
    without, _ = draw(logits, stratified(count), 0.0)
    assert (p[without] <= floor).mean() == pytest.approx(p[p <= floor].sum(), abs=0.005)


@pytest.mark.parametrize("levels", [2, 3, 8, 255, 256, 65_536])
@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("level", [0.0, -1e4])
def test_codes_alike_are_all_drawn_up_to_the_highest_floor(levels: int, temperature: float, level: float) -> None:
    """Never a code out of range, at either end of the uniforms."""
    uniform = np.concatenate([[2**-23], stratified(64), [1 - 2**-23]])
    for floor in (0.0, highest_floor(levels) / 2, highest_floor(levels)):
        codes, nll = draw(np.full(levels, level), uniform, floor, temperature)
        off = np.abs(codes - np.floor(uniform * levels))
        assert off.max() <= max(1, levels * 1e-3)  # sums of thousands are rounded
        assert codes.min() == 0 and codes.max() == levels - 1
        assert np.allclose(nll, np.log(levels), atol=1e-3)


@pytest.mark.parametrize("levels", [2, 8, 256])
def test_nearly_even_distributions_give_codes_in_range_at_the_highest_floor(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for scale in (1e-7, 1e-4, 0.1, 1.0, 30.0):
        logits = rng.normal(scale=scale, size=levels)
        codes, _ = draw(logits, np.concatenate([[2**-23], stratified(500), [1 - 2**-23]]), highest_floor(levels))
        assert codes.min() >= 0 and codes.max() < levels
        assert (softmax(logits)[codes] > highest_floor(levels) - 1e-7).all()


def test_a_floor_that_could_leave_nothing_is_refused() -> None:
    """At 1 / Q codes that are all alike leave nothing, and the graph counts past the last one."""
    with pytest.raises(Exception, match="Out of range value in index"):
        draw(np.zeros(256), stratified(10), 1 / 256)
    for floor in (1 / 256, np.nextafter(1 / 256, 0), np.nextafter(highest_floor(256), 1)):
        with pytest.raises(UserError, match="`floor`"):
            as_floor(floor, 256)
    assert as_floor(highest_floor(256), 256) == highest_floor(256)


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_a_floor_of_0_draws_the_very_codes_that_no_floor_draws(bundle: Bundle, precision: str) -> None:
    """To the last bit, against the same graph with the floor cut out."""
    graph = onnx.load_from_string(bundle.read(bundle.variant(precision).sample_tier))  # type: ignore[arg-type]
    without = onnx.ModelProto()
    without.CopyFrom(graph)
    nodes = {output: node for node in without.graph.node for output in node.output}
    cut = 0
    for node in without.graph.node:
        if node.op_type == "CumSum":
            relu = nodes[node.input[0]]
            subtract = nodes[relu.input[0]]
            assert (relu.op_type, subtract.op_type) == ("Relu", "Sub")
            node.input[0] = subtract.input[0]
            cut += 1
    assert cut == bundle.manifest.frame_tiers[0].hop
    rng, rows, hop = np.random.default_rng(0), 500, bundle.manifest.frame_tiers[0].hop
    feed: dict[str, Array] = {
        "history": rng.integers(0, 256, (rows, bundle.manifest.sample_tier.history), np.int32),
        "conditioning": rng.normal(size=(rows, hop, bundle.manifest.width)).astype(np.float32),
        "uniform": ((rng.integers(0, 2**22, (rows, hop)) + 0.5) / 2**22).astype(np.float32),
        "temperature": rng.uniform(0.5, 1.5, rows).astype(np.float32),
        "floor": np.zeros(rows, np.float32),
    }
    expected, expected_nll = run(without, feed)
    codes, nll = run(graph, feed)
    assert np.array_equal(codes, expected) and np.array_equal(nll, expected_nll)
    feed["floor"] += 0.003
    assert not np.array_equal(run(graph, feed)[0], expected)
