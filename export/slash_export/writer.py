"""Writes ONNX graphs in a precision: how weights are stored, and how matrix products are computed.

fp32 and fp16 use standard operators only. int8 stores the sample tier's table as float16, and each column of a
weight in blocks of 8-bit integers with one scale per block, and multiplies with ONNX Runtime's `MatMulNBits`, which
quantises every row of the activations by itself. Dynamic quantisation, in contrast, has one scale for the whole
batch: the audio of a clip would depend on the other clips of its batch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxscript

from slash_infer.bundle import Precision
from slash_infer.errors import Argument, UserError

OPSET = 18
IR_VERSION = 10
FLOAT, FLOAT16, INT32, BATCH = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT32, "batch"
ORT_DOMAIN = "com.microsoft"
# Entries of a column that share a scale. As measured (docs/performance.md), long blocks are faster in wide layers; in
# narrow layers short blocks are as fast, and lose less.
BLOCK, WIDE_BLOCK, WIDE = 64, 256, 1024
MOST_BYTES = 2**31 - 2**20  # of weights: protobuf holds 2**31 - 1 bytes, and the nodes need some
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level: integer products; level 0 computes in float, 50 times slower

Float32 = npt.NDArray[np.float32]


class Part(NamedTuple):
    """Some of the inputs of a layer."""

    value: Any
    """[B, size], float32."""
    size: int
    exact: bool = False
    """Whether int8 must not round them."""


class GraphWriter:
    """A graph under construction.

    `op` provides ONNX's operators. Values between matrix products have the working type: float16 for fp16, else
    float32.

    Args:
        name: name of the graph.
        precision: precision of its weights and products.
    """

    def __init__(self, name: str, precision: Precision) -> None:
        domains = {"": OPSET, ORT_DOMAIN: 1} if precision == "int8" else {"": OPSET}
        self._builder = onnxscript.GraphBuilder(ir.Graph([], [], nodes=[], opset_imports=domains, name=name))
        self._precision = precision
        self.op: Any = self._builder.op

    def input(self, name: str, dtype: ir.DataType, shape: list[int | str]) -> Any:
        """Declare an input and return it."""
        return self._builder.input(name, dtype, shape)

    def output(self, name: str, value: Any, dtype: ir.DataType, shape: list[int | str]) -> None:
        """Declare `value` as the output called `name`."""
        value.dtype, value.shape = dtype, ir.Shape(shape)
        self._builder.add_output(value, name)

    def weight(self, name: str, value: npt.NDArray[Any]) -> Any:
        """Return the initializer called `name`; make it on the first call."""
        known = self._builder.graph.initializers
        return known[name] if name in known else self._builder.initializer(ir.tensor(value, name=name))

    def numbers(self, name: str, value: Float32) -> Any:
        """Return an initializer of the working type.

        Raises:
            UserError: a number is too large for it.
        """
        if self._precision != "fp16":
            return self.weight(name, value)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if not np.isfinite(half).all():
            raise UserError(Argument("precision", "fp16"), "cannot hold this model's weights", "leave it out")
        return self.weight(name, half)

    def looked_up(self, name: str, rows: Float32, indices: Any) -> Any:
        """Return rows of an initializer [R, D] by their indices, in the working type.

        int8 stores them as float16, half the size, if they fit, and computes with float32.

        Raises:
            UserError: the precision is fp16, and a number is too large for it.
        """
        if self._precision != "int8" or np.abs(rows).max() > np.finfo(np.float16).max:
            return self.op.Gather(self.numbers(name, rows), indices)
        return self.op.Cast(self.op.Gather(self.weight(name, rows.astype(np.float16)), indices), to=FLOAT)

    def working(self, value: Any) -> Any:
        """Cast float32 to the working type."""
        return self.op.Cast(value, to=FLOAT16) if self._precision == "fp16" else value

    def float32(self, value: Any) -> Any:
        """Cast the working type to float32."""
        return self.op.Cast(value, to=FLOAT) if self._precision == "fp16" else value

    def linear(self, name: str, x: Any, weight: Float32, bias: Float32, *, quantised: bool = True) -> Any:
        """Return x @ weight + bias, in the working type.

        Args:
            name: prefix of the initializers' names.
            x: [B, K].
            weight: [K, N].
            bias: [N].
            quantised: whether to quantise the weight if the precision is int8.
        """
        return self.op.Add(self._product(name, x, weight, quantised), self.numbers(f"{name}.bias", bias))

    def linear_of(self, name: str, parts: Sequence[Part], weight: Float32, bias: Float32) -> Any:
        """Return the parts, joined, @ weight + bias, in the working type.

        int8 rounds what it multiplies to 8 bits, too. Of exact parts, weights and products stay float32.

        Args:
            name: prefix of the initializers' names.
            parts: of the inputs, K numbers together.
            weight: [K, N].
            bias: [N].
        """
        rows = np.concatenate([np.full(part.size, part.exact) for part in parts])
        if self._precision != "int8" or not rows.any():
            return self.linear(name, self._input(parts), weight, bias)
        exact, others = ([part for part in parts if part.exact is kind] for kind in (True, False))
        product = self.op.MatMul(self._input(exact), self.numbers(f"{name}.exact_weight", weight[rows]))
        if others:
            product = self.op.Add(product, self._product(name, self._input(others), weight[~rows], quantised=True))
        return self.op.Add(product, self.numbers(f"{name}.bias", bias))

    def _input(self, parts: Sequence[Part]) -> Any:
        values = [part.value for part in parts]
        return self.working(self.joined(values, axis=1))

    def _product(self, name: str, x: Any, weight: Float32, quantised: bool) -> Any:
        if self._precision != "int8" or not quantised:
            return self.op.MatMul(x, self.numbers(f"{name}.weight", weight))
        rows, columns = weight.shape
        integers, scales = quantise(weight)
        return self.op.MatMulNBits(
            x,
            self.weight(f"{name}.weight", integers),
            self.weight(f"{name}.scales", scales),
            K=rows,
            N=columns,
            bits=8,
            block_size=integers.shape[2],
            accuracy_level=INT8_ACTIVATIONS,
            _domain=ORT_DOMAIN,
        )

    def parts(self, value: Any, count: int, axis: int) -> list[Any]:
        """Split a value into `count` equal parts along an axis."""
        return [value] if count == 1 else list(self.op.Split(value, axis=axis, num_outputs=count, _outputs=count))

    def joined(self, values: Sequence[Any], axis: int) -> Any:
        """Concatenate values along an axis."""
        return self.op.Concat(*values, axis=axis) if len(values) > 1 else values[0]

    def finish(self) -> onnx.ModelProto:
        """Return the graph as a model that fits in one file, after ONNX's checks.

        Raises:
            UserError: it does not fit.
        """
        graph = self._builder.graph
        size = sum(value.const_value.nbytes for value in graph.initializers.values() if value.const_value is not None)
        if size > MOST_BYTES:
            raise UserError(
                f"{graph.name}.onnx",
                f"would hold {size / 1e9:.1f} GB of weights, over the {MOST_BYTES / 1e9:.1f} GB of an ONNX file",
                "train with a smaller model.width, model.frame_sizes or model.history, or fewer audio.codec.levels",
            )
        proto = ir.to_proto(ir.Model(graph, ir_version=IR_VERSION, producer_name="slash"))
        onnx.checker.check_model(proto, full_check=True)
        return proto


def quantise(weight: Float32) -> tuple[npt.NDArray[np.uint8], Float32]:
    """Quantise a weight to 8 bits, symmetrically, each column in blocks.

    Args:
        weight: [K, N].

    Returns:
        integers [N, ceil(K / block), block], where 128 stands for 0, and scales [N, ceil(K / block)]. The last block
        is padded with zeros.
    """
    rows, columns = weight.shape
    longest = WIDE_BLOCK if rows >= WIDE else BLOCK
    block = max(16, min(longest, 1 << (rows - 1).bit_length()))
    padded = np.pad(weight, ((0, -rows % block), (0, 0))).T.reshape(columns, -1, block)
    largest = np.abs(padded).max(axis=2)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    integers = np.rint(padded / scales[..., np.newaxis]) + 128
    return integers.astype(np.uint8), scales
