"""Checks, without the onnx package, that an ONNX file is self-contained, plain and finite before a runtime opens it.

A runtime that opens a graph also opens the files that the graph points to. The graphs of a bundle may therefore point
to none: all weights are inside. Nor may they have subgraphs or functions, which Slash never writes. No weight may be
NaN or infinite.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_infer.errors import UserError

# Field numbers of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_FLOAT, ATTRIBUTE_TENSOR, ATTRIBUTE_FLOATS, ATTRIBUTE_TENSORS = 2, 5, 7, 10
TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INTEGERS, TENSOR_RAW, TENSOR_DATA_LOCATION = 2, 4, 5, 9, 14
FLOAT, FLOAT16 = 1, 10  # values of TENSOR_TYPE
INTEGERS = {2, 3, 4, 5, 6, 7, 9, 12, 13}  # the same, with booleans
DOMAINS = (b"", b"ai.onnx", b"com.microsoft")
# The fields of a plain graph. Absent: functions, training information, sparse weights, subgraphs, external data.
PLAIN = {
    "model": {1, 2, 3, 4, 5, 6, MODEL_GRAPH, 8, 14},
    "graph": {GRAPH_NODE, 2, GRAPH_INITIALIZER, 10, 11, 12, 13, 16},
    "node": {1, 2, 3, 4, NODE_ATTRIBUTE, 6, NODE_DOMAIN, 9},
    "attribute": {1, ATTRIBUTE_FLOAT, 3, 4, ATTRIBUTE_TENSOR, ATTRIBUTE_FLOATS, 8, 9, ATTRIBUTE_TENSORS, 13, 20},
    "tensor": {1, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INTEGERS, 7, 8, TENSOR_RAW, 12, TENSOR_DATA_LOCATION, 16},
}
ORT_FORMAT = b"ORTM"  # at bytes 4 to 8: ONNX Runtime's own format, which it detects by default
MOST_FIELDS = 1 << 22  # of all messages in a file: more would take long to search
CHECKED = 1 << 20  # numbers checked at a time, which bounds the memory

WEIGHT_SHAPE, WEIGHT_TYPE, WEIGHT_NAME, WEIGHT_RAW = 1, 2, 8, 9
WEIGHT_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    6: np.dtype("<i4"),
    10: np.dtype("<f2"),
}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def check_self_contained(content: bytes, path: Path) -> None:
    """Check that an ONNX file points to no other file and holds nothing but a plain graph with finite weights.

    Args:
        content: of the file.
        path: for messages.

    Raises:
        UserError: the file is not such a file.
    """
    try:
        _Search().model(content)
    except _NotPlain as fault:
        raise UserError(path, str(fault), "use only bundles made by slash export") from None
    except (ValueError, IndexError):
        raise UserError(path, "is not an ONNX file", "use only bundles made by slash export") from None


class _NotPlain(Exception):  # noqa: N818
    """The message names what a file holds that it may not."""


class _Search:
    """One search through a file, message by message."""

    def __init__(self) -> None:
        self._fields_left = MOST_FIELDS

    def model(self, content: bytes) -> None:
        if content[4:8] == ORT_FORMAT:
            raise _NotPlain("is not an ONNX file")
        model = self._plain_fields("model", memoryview(content))
        graphs = [_message(value) for number, value in model if number == MODEL_GRAPH]
        if len(graphs) != 1:
            raise _NotPlain("is not an ONNX file with one graph")
        for number, value in self._plain_fields("graph", graphs[0]):
            if number == GRAPH_INITIALIZER:
                self._tensor(_message(value))
            if number == GRAPH_NODE:
                self._node(_message(value))

    def _node(self, node: memoryview) -> None:
        for number, value in self._plain_fields("node", node):
            if number == NODE_DOMAIN and bytes(_message(value)) not in DOMAINS:
                raise _NotPlain("holds an operator that is neither ONNX's nor ONNX Runtime's")
            if number != NODE_ATTRIBUTE:
                continue
            for inner, held in self._plain_fields("attribute", _message(value)):
                if inner in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                    self._tensor(_message(held))
                if inner in (ATTRIBUTE_FLOAT, ATTRIBUTE_FLOATS):
                    _check_finite(_message(held), "<f4")

    def _tensor(self, tensor: memoryview) -> None:
        kinds, raw, has_integers = [], [], False
        for number, value in self._plain_fields("tensor", tensor):
            if number == TENSOR_DATA_LOCATION and value != 0:
                raise _NotPlain("points to a weight outside itself")
            if number == TENSOR_TYPE:
                kinds.append(value)
            if number == TENSOR_FLOATS:
                _check_finite(_message(value), "<f4")
            has_integers = has_integers or number == TENSOR_INTEGERS
            if number == TENSOR_RAW:
                raw.append(_message(value))
        if len(kinds) != 1 or not (kinds[0] in INTEGERS or kinds[0] in (FLOAT, FLOAT16)):
            raise _NotPlain("holds a weight of a type that is not Slash's")
        if has_integers and kinds[0] == FLOAT16:  # its bits, one number in each
            raise _NotPlain("holds a weight of 16-bit numbers that is stored in integers")
        for part in raw:
            if kinds[0] in (FLOAT, FLOAT16):
                _check_finite(part, "<f4" if kinds[0] == FLOAT else "<f2")

    def _plain_fields(self, kind: str, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Yield the fields of a message, or raise if it has one that a plain graph may not have."""
        for number, value in _fields(message):
            if number not in PLAIN[kind]:
                raise _NotPlain(f"is not an ONNX file with nothing but a plain graph ({kind} field {number})")
            self._fields_left -= 1
            if self._fields_left < 0:
                raise _NotPlain(f"is not an ONNX file with at most {MOST_FIELDS} fields")
            yield number, value


def _check_finite(data: memoryview, dtype: str) -> None:
    """Check numbers as they are stored, little-endian."""
    numbers = np.frombuffer(data, dtype)
    for first in range(0, len(numbers), CHECKED):
        if not np.isfinite(numbers[first : first + CHECKED]).all():
            raise _NotPlain("holds a weight that is NaN or infinite")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a protobuf message: the number, and the value of a varint or the bytes of anything else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >= 2**32:
            raise ValueError("a field number that other readers truncate")
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == BYTES:
            length, at = _varint(message, at)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError("no such wire type")
        if at + length > len(message):
            raise ValueError("cut short")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number, stored in 7 bits a byte; return it and the index behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")


def read_weights(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the weights of a graph by name, those in float32, float16, int32 or uint8, as views of `content`.

    Args:
        content: of an ONNX file that `check_self_contained` has passed.

    Raises:
        ValueError: it holds a weight whose size is not that of its shape.
    """
    graph = next(_message(value) for number, value in _fields(memoryview(content)) if number == MODEL_GRAPH)
    tensors = (_message(value) for number, value in _fields(graph) if number == GRAPH_INITIALIZER)
    return {name: values for name, values in map(_weight, tensors) if values is not None}


def _weight(tensor: memoryview) -> tuple[str, npt.NDArray[Any] | None]:
    name, raw, shape = "", memoryview(b""), list[int]()
    dtype: np.dtype[Any] | None = None
    for number, value in _fields(tensor):
        if number == WEIGHT_SHAPE:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == WEIGHT_TYPE:
            dtype = WEIGHT_TYPES.get(value if isinstance(value, int) else 0)
        elif number == WEIGHT_NAME:
            name = bytes(_message(value)).decode()
        elif number == WEIGHT_RAW:
            raw = _message(value)
    return name, None if dtype is None else np.frombuffer(raw, dtype).reshape(shape)


def _packed(numbers: memoryview) -> list[int]:
    """Return numbers that are stored one after another."""
    found, at = [], 0
    while at < len(numbers):
        number, at = _varint(numbers, at)
        found.append(number)
    return found
