"""Builds the ONNX graphs of a folded model. docs/bundle-format.md describes their inputs and outputs.

All graphs are purely feed-forward: no Loop, Scan or If, which CUDA graphs cannot capture. One call of the sample tier
generates a whole frame of the lowest tier, its steps unrolled, and draws every code inside the graph. Recurrent
state, softmax and cumulative sums are float32, whatever the precision of the products.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from slash_export.folding import FoldedFrameTier, FoldedSampleTier, RecurrentLayer
from slash_export.writer import BATCH, FLOAT, INT32, GraphWriter, Part
from slash_infer.bundle import STATE_NAMES, Precision


def frame_tier_graph(tier: FoldedFrameTier, k: int, precision: Precision = "fp32") -> onnx.ModelProto:
    """Return one step of frame tier k: from a frame of codes, conditioning and state to conditioning and state.

    Args:
        tier: the folded tier.
        k: its number, from 1.
        precision: precision of the weights and products.
    """
    writer = GraphWriter(f"frame_tier_{k}", precision)
    op = writer.op
    layers, width = len(tier.layers), tier.width
    frame = writer.input("frame", INT32, [BATCH, tier.frame_size])
    inputs = [Part(op.Gather(writer.weight("samples", tier.samples), frame), tier.frame_size, exact=True)]
    if not tier.is_top:
        inputs.append(Part(writer.input("conditioning", FLOAT, [BATCH, width]), width))
    names = STATE_NAMES[tier.cell]
    given = [writer.parts(writer.input(name, FLOAT, [layers, BATCH, width]), layers, axis=0) for name in names]
    before = [[op.Squeeze(layer, [0]) for layer in state] for state in given]  # each [B, D]
    after: list[tuple[Any, ...]] = []
    for i, weights in enumerate(tier.layers):
        below = [Part(after[-1][0], width)] if after else []
        layer_inputs = [*below, *inputs] if not after or tier.skip is not None else below
        step = _lstm_step if tier.cell == "lstm" else _gru_step
        after.append(step(writer, f"layer_{i}", weights, layer_inputs, *(state[i] for state in before)))
    outputs = [state[0] for state in after]
    hidden = writer.working(outputs[-1] if tier.skip is None else writer.joined(outputs, axis=1))
    if tier.skip is not None:
        hidden = writer.linear("skip", hidden, *tier.skip)
    flat = writer.linear("upsample", hidden, *tier.upsample)
    conditioning = op.Reshape(writer.float32(flat), [-1, tier.upsampling, tier.out_features])
    writer.output("conditioning_out", conditioning, FLOAT, [BATCH, tier.upsampling, tier.out_features])
    for name, state in zip(names, zip(*after, strict=True), strict=True):
        stacked = writer.joined([op.Unsqueeze(layer, [0]) for layer in state], axis=0)
        writer.output(f"{name}_out", stacked, FLOAT, [layers, BATCH, width])
    return writer.finish()


def sample_tier_graph(tier: FoldedSampleTier, steps: int, precision: Precision = "fp32") -> onnx.ModelProto:
    """Return the steps of the sample tier in a hop: from history and conditioning to codes and NLL.

    Some inner tensors have fixed names, for tools to find them: `conditioning_0` .. `conditioning_{steps-1}`, [B, D],
    and `logits_0` .. `logits_{steps-1}`, [B, Q] before temperature.

    Args:
        tier: the folded tier.
        steps: samples per call, the hop of the lowest frame tier.
        precision: precision of the weights and products.
    """
    writer = GraphWriter("sample_tier", precision)
    op = writer.op
    seen, levels, width = tier.table.shape
    table = tier.table.reshape(-1, width)
    history = writer.input("history", INT32, [BATCH, seen])
    conditioning = writer.input("conditioning", FLOAT, [BATCH, steps, width])
    offsets = writer.weight("table_offsets", np.arange(seen, dtype=np.int32) * np.int32(levels))
    given = writer.parts(history, seen, axis=1)

    def logits(i: int, drawn: list[Any]) -> Any:
        latest = (given + drawn)[-seen:]
        rows = writer.looked_up("table", table, op.Add(writer.joined(latest, axis=1), offsets))  # [B, H, D]
        from_above = op.Gather(conditioning, i, axis=1)
        from_above.name = f"conditioning_{i}"
        x = op.Relu(op.Add(op.ReduceSum(rows, [1], keepdims=0), writer.working(from_above)))
        for layer, (weight, bias) in enumerate(tier.hidden):
            x = op.Relu(writer.linear(f"hidden_{layer}", x, weight, bias))
        # Quantising the output layer would lose more bits than all other layers together, and gain little speed.
        return writer.float32(writer.linear("output", x, *tier.output, quantised=False))

    return _draw_all(writer, steps, logits)


def drawing_graph(samples: int, levels: int) -> onnx.ModelProto:
    """Return the graph that draws codes for a model without a sample tier: its conditioning is already the logits.

    Args:
        samples: logits per call.
        levels: Q.
    """
    writer = GraphWriter("sample_tier", "fp32")
    conditioning = writer.input("conditioning", FLOAT, [BATCH, samples, levels])
    return _draw_all(writer, samples, lambda i, _: writer.op.Gather(conditioning, i, axis=1))


def _draw_all(writer: GraphWriter, steps: int, logits_of: Callable[[int, list[Any]], Any]) -> onnx.ModelProto:
    """Draw `steps` codes, each from logits that may depend on the codes drawn before; return the finished graph."""
    op = writer.op
    uniforms = writer.parts(writer.input("uniform", FLOAT, [BATCH, steps]), steps, axis=1)
    inverse_temperature = op.Unsqueeze(op.Reciprocal(writer.input("temperature", FLOAT, [BATCH])), [1])
    floor = op.Unsqueeze(writer.input("floor", FLOAT, [BATCH]), [1])
    codes: list[Any] = []
    likelihoods = []
    for i in range(steps):
        logits = logits_of(i, codes)
        logits.name = f"logits_{i}"
        code, likelihood = _draw(op, op.Mul(logits, inverse_temperature), floor, uniforms[i])
        codes.append(code)
        likelihoods.append(likelihood)
    writer.output("codes", writer.joined(codes, axis=1), INT32, [BATCH, steps])
    nll = op.Neg(op.Log(writer.joined(likelihoods, axis=1)))
    writer.output("nll", nll, FLOAT, [BATCH, steps])
    return writer.finish()


def _draw(op: Any, logits: Any, floor: Any, uniform: Any) -> tuple[Any, Any]:
    """Return the inverse of the cumulative distribution at `uniform`: a code [B, 1] and its probability [B, 1].

    The floor is subtracted from all probabilities, and a code that has nothing left is never drawn (LPCNet: Valin and
    Skoglund 2019, arXiv 1810.11846, section 3.7). The probability returned is the one before.

    The code is the number of cumulative sums at or below uniform * total. The total is taken from the sums
    themselves, which renormalises what the floor leaves. Without a floor, too, rounding moves it slightly off 1, and
    could otherwise select the last code.
    """
    probabilities = op.Softmax(logits, axis=-1)
    cumulative = op.CumSum(op.Relu(op.Sub(probabilities, floor)), 1)
    total = op.Slice(cumulative, [-1], [np.iinfo(np.int64).max], [1])
    at_or_below = op.LessOrEqual(cumulative, op.Mul(uniform, total))
    code = op.ReduceSum(op.Cast(at_or_below, to=INT32), [1], keepdims=1)
    return code, op.GatherElements(probabilities, code, axis=1)


def _lstm_step(
    writer: GraphWriter, name: str, weights: RecurrentLayer, x: list[Part], h: Any, c: Any
) -> tuple[Any, Any]:
    """One step of an LSTM layer: from x [B, inputs], h and c [B, D] to the new h and c.

    It consists of plain matrix products instead of ONNX's LSTM operator: these work in every precision, and are as
    fast in ONNX Runtime.
    """
    op = writer.op
    weight = np.hstack([weights.input_weight, weights.hidden_weight]).T
    inputs, bias = [*x, _state(weights, h)], weights.input_bias + weights.hidden_bias
    gates = writer.linear_of(name, inputs, np.ascontiguousarray(weight), bias)
    i, f, g, o = writer.parts(writer.float32(gates), 4, axis=1)
    c = op.Add(op.Mul(op.Sigmoid(f), c), op.Mul(op.Sigmoid(i), op.Tanh(g)))
    return op.Mul(op.Sigmoid(o), op.Tanh(c)), c


def _gru_step(writer: GraphWriter, name: str, weights: RecurrentLayer, x: list[Part], h: Any) -> tuple[Any]:
    """One step of a GRU layer: from x [B, inputs] and h [B, D] to the new h.

    As in PyTorch, the reset gate is applied after the recurrent product and its bias.
    """
    op = writer.op
    from_x, from_h = (
        writer.parts(
            writer.float32(writer.linear_of(f"{name}.{kind}", parts, np.ascontiguousarray(weight.T), bias)),
            3,
            axis=1,
        )
        for kind, parts, weight, bias in (
            ("input", x, weights.input_weight, weights.input_bias),
            ("hidden", [_state(weights, h)], weights.hidden_weight, weights.hidden_bias),
        )
    )
    r, z = (op.Sigmoid(op.Add(a, b)) for a, b in zip(from_x[:2], from_h[:2], strict=True))
    n = op.Tanh(op.Add(from_x[2], op.Mul(r, from_h[2])))
    return (op.Add(n, op.Mul(z, op.Sub(h, n))),)  # (1 - z) n + z h


def _state(weights: RecurrentLayer, h: Any) -> Part:
    return Part(h, weights.hidden_weight.shape[1])
