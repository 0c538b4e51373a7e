"""Looks into ONNX files before a runtime does, without the onnx package: they must be self-contained and plain.

A runtime that opens a graph also opens what the graph points to. So a graph of a bundle may point to nothing:
every weight lies inside it, and it has no subgraphs or functions of its own, which Slash never writes.
"""

from collections.abc import Iterator
from pathlib import Path

from slash_infer.errors import UserError

# Field numbers of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER = 1, 5, 15
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE = (22, 23)
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
DOMAINS = (b"", b"ai.onnx", b"com.microsoft")

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def check_self_contained(content: bytes, path: Path) -> None:
    """Check that an ONNX file points to no other file and holds nothing but a plain graph.

    Args:
        content: of the file.
        path: names it in the error.

    Raises:
        UserError: it does not.
    """
    try:
        fault = _fault(memoryview(content))
    except (ValueError, IndexError):
        fault = "is not an ONNX file"
    if fault is not None:
        raise UserError(f"{path}: {fault}; take a bundle from slash export alone")


def _fault(model: memoryview) -> str | None:
    graphs = []
    for number, value in _fields(model):
        if number in (MODEL_TRAINING, MODEL_FUNCTIONS):
            return "holds functions or training information"
        if number == MODEL_GRAPH:
            graphs.append(_message(value))
    if len(graphs) != 1:
        return "is not an ONNX file with one graph"
    for number, value in _fields(graphs[0]):
        if number == GRAPH_SPARSE_INITIALIZER:
            return "holds sparse weights"
        if number == GRAPH_INITIALIZER and _points_elsewhere(_message(value)):
            return "points to a weight outside itself"
        if number == GRAPH_NODE:
            fault = _node_fault(_message(value))
            if fault is not None:
                return fault
    return None


def _node_fault(node: memoryview) -> str | None:
    for number, value in _fields(node):
        if number == NODE_DOMAIN and bytes(_message(value)) not in DOMAINS:
            return "holds an operator that is neither ONNX's nor ONNX Runtime's"
        if number != NODE_ATTRIBUTE:
            continue
        for inner, held in _fields(_message(value)):
            if inner in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                return "holds a graph within the graph"
            if inner in ATTRIBUTE_SPARSE:
                return "holds sparse weights"
            if inner in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS) and _points_elsewhere(_message(held)):
                return "points to a weight outside itself"
    return None


def _points_elsewhere(tensor: memoryview) -> bool:
    return any(
        number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value != 0)
        for number, value in _fields(tensor)
    )


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a protobuf message: number, and a varint's value or the bytes of anything else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
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
    """Read a number of 7 bits a byte; return it and where it ends."""
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
