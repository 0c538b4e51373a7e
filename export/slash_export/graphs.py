"""Builds the ONNX graphs of a folded model. docs/bundle-format.md describes their inputs and outputs.

Both kinds are plain feed-forward graphs: no Loop, Scan or If, which CUDA graphs cannot capture. The sample tier
makes a whole lowest frame per call, its steps unrolled, each drawing its code inside the graph.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxscript

from slash_export.folding import FoldedFrameTier, FoldedSampleTier, LstmLayer

OPSET = 18
IR_VERSION = 10
FLOAT, INT32, BATCH = ir.DataType.FLOAT, ir.DataType.INT32, "batch"


def frame_tier_graph(tier: FoldedFrameTier, k: int, levels: int) -> onnx.ModelProto:
    """One step of frame tier k: a frame of codes, conditioning and state to conditioning and state."""
    builder = _builder(f"frame_tier_{k}")
    op = builder.op
    layers, width = len(tier.layers), tier.width
    frame = builder.input("frame", INT32, [BATCH, tier.frame_size])
    inputs = op.Sub(op.Mul(op.Cast(frame, to=FLOAT), 4.0 / (levels - 1)), 2.0)  # codes as reals in [-2, 2]
    if not tier.is_top:
        inputs = op.Concat(inputs, builder.input("conditioning", FLOAT, [BATCH, width]), axis=1)
    h = _parts(op, builder.input("h", FLOAT, [layers, BATCH, width]), layers, axis=0)
    c = _parts(op, builder.input("c", FLOAT, [layers, BATCH, width]), layers, axis=0)
    hidden = op.Unsqueeze(inputs, [0])  # a sequence of one step: [1, B, inputs]
    for i, weights in enumerate(tier.layers):
        hidden, c[i] = _lstm(op, weights, hidden, h[i], c[i], f"layer_{i}")
        h[i] = hidden
    flat = _linear(op, "upsample", op.Squeeze(hidden, [0]), tier.upsample_weight, tier.upsample_bias)
    conditioning = op.Reshape(flat, [-1, tier.upsampling, width])
    builder.add_output(_typed(conditioning, FLOAT, [BATCH, tier.upsampling, width]), "conditioning_out")
    for name, state in (("h_out", h), ("c_out", c)):
        builder.add_output(_typed(op.Concat(*state, axis=0), FLOAT, [layers, BATCH, width]), name)
    return _finish(builder)


def sample_tier_graph(tier: FoldedSampleTier) -> onnx.ModelProto:
    """FS samples: history, conditioning, uniforms and temperature to codes and their negative log-likelihoods.

    The tensors `logits_0` .. `logits_{FS-1}`, [B, Q] before temperature, are named so that tools can read them.
    """
    builder = _builder("sample_tier")
    op = builder.op
    steps, levels, width = tier.table.shape
    history = builder.input("history", INT32, [BATCH, steps])
    conditioning = builder.input("conditioning", FLOAT, [BATCH, steps, width])
    uniform = builder.input("uniform", FLOAT, [BATCH, steps])
    sharpness = op.Unsqueeze(op.Reciprocal(builder.input("temperature", FLOAT, [BATCH])), [1])
    table = _weight(op, "table", tier.table.reshape(-1, width))
    offsets = _weight(op, "table_offsets", np.arange(steps, dtype=np.int32) * np.int32(levels))
    codes, uniforms = _parts(op, history, steps, axis=1), _parts(op, uniform, steps, axis=1)
    likelihoods = []
    for i in range(steps):
        rows = op.Gather(table, op.Add(op.Concat(*codes[i:], axis=1), offsets))  # [B, FS, D]
        from_above = op.Gather(conditioning, i, axis=1)
        x = op.Relu(op.Add(op.ReduceSum(rows, [1], keepdims=0), from_above))
        for layer, (weight, bias) in enumerate(tier.hidden):
            x = op.Relu(_linear(op, f"hidden_{layer}", x, weight, bias))
        logits = _linear(op, "output", x, *tier.output)
        logits.name = f"logits_{i}"
        code, likelihood = _draw(op, op.Mul(logits, sharpness), uniforms[i])
        codes.append(code)
        likelihoods.append(likelihood)
    drawn = op.Concat(*codes[steps:], axis=1)
    builder.add_output(_typed(drawn, INT32, [BATCH, steps]), "codes")
    nll = op.Neg(op.Log(op.Concat(*likelihoods, axis=1)))
    builder.add_output(_typed(nll, FLOAT, [BATCH, steps]), "nll")
    return _finish(builder)


def _draw(op: Any, logits: Any, uniform: Any) -> tuple[Any, Any]:
    """Invert the cumulative distribution at `uniform`: the code [B, 1] and its probability [B, 1].

    The code is the number of cumulative sums at or under uniform * total. The total, which rounding leaves a
    little off 1, is taken from the sums themselves, so the last code is never drawn by rounding alone.
    """
    probabilities = op.Softmax(logits, axis=-1)
    cumulative = op.CumSum(probabilities, 1)
    total = op.Slice(cumulative, [-1], [np.iinfo(np.int64).max], [1])
    at_or_under = op.LessOrEqual(cumulative, op.Mul(uniform, total))
    code = op.ReduceSum(op.Cast(at_or_under, to=INT32), [1], keepdims=1)
    return code, op.GatherElements(probabilities, code, axis=1)


def _lstm(op: Any, weights: LstmLayer, x: Any, h: Any, c: Any, name: str) -> tuple[Any, Any]:
    """One step of an LSTM layer: x [1, B, inputs], h and c [1, B, D] to the new h and c."""
    _, h, c = op.LSTM(
        x,
        _weight(op, f"{name}.W", _onnx_gates(weights.input_weight)[np.newaxis]),
        _weight(op, f"{name}.R", _onnx_gates(weights.hidden_weight)[np.newaxis]),
        _weight(op, f"{name}.B", np.hstack([_onnx_gates(weights.bias), np.zeros_like(weights.bias)])[np.newaxis]),
        None,
        h,
        c,
        hidden_size=weights.hidden_weight.shape[1],
        _outputs=3,
    )
    return h, c


def _onnx_gates(stacked: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Reorder gates stacked on axis 0 from PyTorch's input, forget, cell, output to ONNX's i, o, f, c."""
    i, f, c, o = np.split(stacked, 4)
    return np.concatenate([i, o, f, c])


def _linear(op: Any, name: str, x: Any, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Any:
    return op.Add(op.MatMul(x, _weight(op, f"{name}.weight", weight)), _weight(op, f"{name}.bias", bias))


def _weight(op: Any, name: str, value: npt.NDArray[Any]) -> Any:
    """Return the initializer called `name`, the same one each time it is asked for."""
    known = op.builder.graph.initializers
    return known[name] if name in known else op.builder.initializer(ir.tensor(value, name=name))


def _parts(op: Any, value: Any, count: int, axis: int) -> list[Any]:
    """Split a value into `count` parts of size 1 along an axis."""
    return [value] if count == 1 else list(op.Split(value, axis=axis, num_outputs=count, _outputs=count))


def _builder(name: str) -> onnxscript.GraphBuilder:
    return onnxscript.GraphBuilder(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=name))


def _typed(value: Any, dtype: ir.DataType, shape: list[int | str]) -> Any:
    value.dtype, value.shape = dtype, ir.Shape(shape)
    return value


def _finish(builder: onnxscript.GraphBuilder) -> onnx.ModelProto:
    """Turn the graph into a checked model, self-contained in one file."""
    proto = ir.to_proto(ir.Model(builder.graph, ir_version=IR_VERSION, producer_name="slash"))
    onnx.checker.check_model(proto, full_check=True)
    return proto
