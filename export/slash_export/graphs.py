"""Builds the ONNX graphs of a folded model. docs/bundle-format.md describes their inputs and outputs.

Both kinds are plain feed-forward graphs: no Loop, Scan or If, which CUDA graphs cannot capture. The sample tier
makes a whole lowest frame per call, its steps unrolled, each drawing its code inside the graph.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxscript

from slash_export.folding import FoldedFrameTier, FoldedSampleTier, RecurrentLayer
from slash_infer.bundle import STATE_NAMES

OPSET = 18
IR_VERSION = 10
FLOAT, INT32, BATCH = ir.DataType.FLOAT, ir.DataType.INT32, "batch"
# Positions in PyTorch's order of the gates as ONNX orders them: input, output, forget, cell; update, reset, new.
ONNX_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def frame_tier_graph(tier: FoldedFrameTier, k: int, levels: int) -> onnx.ModelProto:
    """One step of frame tier k: a frame of codes, conditioning and state to conditioning and state."""
    builder = _builder(f"frame_tier_{k}")
    op = builder.op
    layers, width = len(tier.layers), tier.width
    frame = builder.input("frame", INT32, [BATCH, tier.frame_size])
    inputs = op.Sub(op.Mul(op.Cast(frame, to=FLOAT), 4.0 / (levels - 1)), 2.0)  # codes as reals in [-2, 2]
    if not tier.is_top:
        inputs = op.Concat(inputs, builder.input("conditioning", FLOAT, [BATCH, width]), axis=1)
    names = STATE_NAMES[tier.cell]
    states = {name: _parts(op, builder.input(name, FLOAT, [layers, BATCH, width]), layers, axis=0) for name in names}
    inputs = op.Unsqueeze(inputs, [0])  # a sequence of one step: [1, B, inputs]
    outputs: list[Any] = []
    for i, weights in enumerate(tier.layers):
        seen = outputs[-1] if outputs else inputs
        if outputs and tier.skip is not None:
            seen = op.Concat(seen, inputs, axis=2)
        before = [states[name][i] for name in names]
        after = _recurrent_step(op, tier.cell, weights, seen, before, f"layer_{i}")
        for name, value in zip(names, after, strict=True):
            states[name][i] = value
        outputs.append(states["h"][i])
    hidden = op.Squeeze(outputs[-1], [0])
    if tier.skip is not None:
        hidden = _linear(op, "skip", op.Squeeze(op.Concat(*outputs, axis=2), [0]), *tier.skip)
    flat = _linear(op, "upsample", hidden, *tier.upsample)
    conditioning = op.Reshape(flat, [-1, tier.upsampling, tier.made])
    builder.add_output(_typed(conditioning, FLOAT, [BATCH, tier.upsampling, tier.made]), "conditioning_out")
    for name in names:
        joined = op.Concat(*states[name], axis=0)
        builder.add_output(_typed(joined, FLOAT, [layers, BATCH, width]), f"{name}_out")
    return _finish(builder)


def sample_tier_graph(tier: FoldedSampleTier) -> onnx.ModelProto:
    """FS samples: history, conditioning, uniforms and temperature to codes and their negative log-likelihoods.

    Some tensors are named so that tools can reach them: `conditioning_0` .. `conditioning_{FS-1}`, [B, D], and
    `logits_0` .. `logits_{FS-1}`, [B, Q] before temperature.
    """
    builder = _builder("sample_tier")
    op = builder.op
    steps, levels, width = tier.table.shape
    history = builder.input("history", INT32, [BATCH, steps])
    conditioning = builder.input("conditioning", FLOAT, [BATCH, steps, width])
    table = _weight(op, "table", tier.table.reshape(-1, width))
    offsets = _weight(op, "table_offsets", np.arange(steps, dtype=np.int32) * np.int32(levels))
    heard = _parts(op, history, steps, axis=1)

    def logits(i: int, drawn: list[Any]) -> Any:
        latest = (heard + drawn)[-steps:]
        rows = op.Gather(table, op.Add(op.Concat(*latest, axis=1), offsets))  # [B, FS, D]
        from_above = op.Gather(conditioning, i, axis=1)
        from_above.name = f"conditioning_{i}"
        x = op.Relu(op.Add(op.ReduceSum(rows, [1], keepdims=0), from_above))
        for layer, (weight, bias) in enumerate(tier.hidden):
            x = op.Relu(_linear(op, f"hidden_{layer}", x, weight, bias))
        return _linear(op, "output", x, *tier.output)

    return _draw_all(builder, steps, logits)


def drawing_graph(samples: int, levels: int) -> onnx.ModelProto:
    """The sample tier of a model that has none: its conditioning already is the logits of `samples` samples."""
    builder = _builder("sample_tier")
    conditioning = builder.input("conditioning", FLOAT, [BATCH, samples, levels])
    return _draw_all(builder, samples, lambda i, _: builder.op.Gather(conditioning, i, axis=1))


def _draw_all(
    builder: onnxscript.GraphBuilder, steps: int, logits_of: Callable[[int, list[Any]], Any]
) -> onnx.ModelProto:
    """Draw `steps` codes, each from logits that may depend on the codes drawn before it."""
    op = builder.op
    uniforms = _parts(op, builder.input("uniform", FLOAT, [BATCH, steps]), steps, axis=1)
    sharpness = op.Unsqueeze(op.Reciprocal(builder.input("temperature", FLOAT, [BATCH])), [1])
    codes: list[Any] = []
    likelihoods = []
    for i in range(steps):
        logits = logits_of(i, codes)
        logits.name = f"logits_{i}"
        code, likelihood = _draw(op, op.Mul(logits, sharpness), uniforms[i])
        codes.append(code)
        likelihoods.append(likelihood)
    builder.add_output(_typed(op.Concat(*codes, axis=1), INT32, [BATCH, steps]), "codes")
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


def _recurrent_step(op: Any, cell: str, weights: RecurrentLayer, x: Any, state: list[Any], name: str) -> list[Any]:
    """One step of a layer: x [1, B, inputs] and the state's tensors, [1, B, D] each, to the new state."""
    gates = ONNX_GATES[cell]
    parameters = [
        _weight(op, f"{name}.W", _reorder(weights.input_weight, gates)[np.newaxis]),
        _weight(op, f"{name}.R", _reorder(weights.hidden_weight, gates)[np.newaxis]),
        _weight(
            op,
            f"{name}.B",
            np.hstack([_reorder(weights.input_bias, gates), _reorder(weights.hidden_bias, gates)])[np.newaxis],
        ),
    ]
    width = weights.hidden_weight.shape[1]
    if cell == "lstm":
        return list(op.LSTM(x, *parameters, None, *state, hidden_size=width, _outputs=3)[1:])
    # PyTorch applies the reset gate after the recurrent product and its bias.
    return [op.GRU(x, *parameters, None, *state, hidden_size=width, linear_before_reset=1, _outputs=2)[1]]


def _reorder(stacked: npt.NDArray[np.float32], gates: Sequence[int]) -> npt.NDArray[np.float32]:
    """Reorder gates stacked on axis 0."""
    parts = np.split(stacked, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


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
