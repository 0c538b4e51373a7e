"""ONNX Runtime on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from slash_infer.bundle import Precision
from slash_infer.machine import usable_cores
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import Launch, in_order

Array = npt.NDArray[Any]

# Measured, docs/performance.md: products of this width gain from threads inside them. Narrower ones are over before
# the threads are awake, so there whole clips are shared out among threads, when each gets enough of them to pay.
WIDE = 512
CLIPS_PER_THREAD = 8
MOST_THREADS = 8


class OnnxCpu:
    """A `slash_infer.runtimes.protocol.Runtime` on the CPU. Its arrays are numpy's.

    Args:
        cores: to use at most; those of this process, if there are not too many to be of use, when not given.
    """

    name = "cpu"
    precisions: tuple[Precision, ...] = ("int8", "fp32", "fp16")

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores or min(usable_cores(), MOST_THREADS)

    @property
    def description(self) -> str:
        """The runtime and its version."""
        return f"ONNX Runtime {ort.__version__} on the CPU"

    def threads(self, clips: int, width: int) -> int:
        """As `Runtime` says."""
        return 1 if width >= WIDE else max(1, min(self._cores, clips // CLIPS_PER_THREAD))

    def batch_multiple(self, precision: Precision) -> int:
        """ONNX Runtime multiplies a lone row, and in int8 the last of an odd number of rows, with another kernel."""
        return 2

    def load(self, content: bytes, name: str, width: int) -> "OnnxGraph":
        """As `Runtime` says."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._cores if width >= WIDE else 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between calls: Python needs the core
        return OnnxGraph(open_session(content, name, options, ["CPUExecutionProvider"]), "cpu", _address)

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """As `Runtime` says."""
        return np.zeros(shape, dtype)

    def part(self, array: Array, index: int, shape: Sequence[int]) -> Array:
        """As `Runtime` says."""
        part: Array = array[index].reshape(-1)[: int(np.prod(shape))].reshape(shape)
        return part

    def put(self, array: Array, values: Array) -> None:
        """As `Runtime` says."""
        array[...] = values

    def get(self, array: Array) -> Array:
        """As `Runtime` says."""
        return array.copy()

    def copy_columns(self, to: Array, to_column: int, source: Array, column: int, columns: int) -> Launch:
        """As `Runtime` says."""
        into = to.reshape(len(to), -1)[:, to_column : to_column + columns]
        out_of = source.reshape(len(source), -1)[:, column : column + columns]

        def copy() -> None:
            into[...] = out_of

        return copy

    def copy_row(self, to: Array, to_row: int, source: Array, row: int) -> None:
        """As `Runtime` says."""
        to[to_row] = source[row]

    def record(self, work: Sequence[Launch]) -> Launch:
        """As `Runtime` says."""
        return in_order(work)


def _address(array: Array) -> int:
    if not array.flags.c_contiguous:
        raise ValueError("a graph reads and writes contiguous arrays")
    return array.ctypes.data
