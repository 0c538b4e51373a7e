"""ONNX Runtime on the CPU."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.runtimes.cpu_cores import cores_to_use
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import GraphRuntime, Launch, in_order

Array = npt.NDArray[Any]
OpenSession = Callable[[bytes, str, ort.SessionOptions, list[Any]], Any]
"""Opens an ONNX Runtime session, or a stand-in for one, as `slash_infer.runtimes.onnx_session.open_session` does."""

# Measured, docs/performance.md: from this width on, matrix products gain from threads inside them. Narrower ones end
# before the threads are awake: there, threads share the batch instead, if each gets enough clips to pay.
WIDE = 512
CLIPS_PER_THREAD = 4


class OnnxCpu(GraphRuntime[Array]):
    """ONNX Runtime on the CPU. Its arrays are numpy's.

    Args:
        cores: how many to use at most; those this process may use, up to 8, when not given.
        open_session: opens the sessions.

    Raises:
        UserError: `cores` is not from 1 to 1024.
    """

    name = "cpu"
    precisions: tuple[Precision, ...] = ("int8", "fp32", "fp16")
    clips_together = 16

    def __init__(self, cores: int | None = None, *, open_session: OpenSession = open_session) -> None:
        self._cores = cores_to_use(cores)
        self._open_session = open_session

    @property
    @override
    def description(self) -> str:
        return f"ONNX Runtime {ort.__version__} on the CPU"

    @override
    def threads(self, clips: int, width: int) -> int:
        return 1 if width >= WIDE else max(1, min(self._cores, clips // CLIPS_PER_THREAD))

    @override
    def batch_multiple(self, precision: Precision, width: int) -> int:
        # In int8, MatMulNBits takes rows in pairs and rounds the last of an odd number differently. In any precision,
        # ReduceSum adds in another order if there is a single row, or fewer rows than threads (docs/performance.md).
        threads = self._threads_inside(width)
        return max(2, threads + threads % 2)

    @override
    def open(self, bundle: Bundle, precision: Precision) -> GraphModel:
        return GraphModel(bundle, self, precision)

    @override
    def load(self, content: bytes, name: str, width: int) -> OnnxGraph:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads_inside(width)
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between runs Python needs the core
        session = self._open_session(content, name, options, ["CPUExecutionProvider"])
        return OnnxGraph(session, name, "cpu", _address)

    @override
    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        return np.zeros(shape, dtype)

    @override
    def part(self, array: Array, index: int, shape: Sequence[int]) -> Array:
        part: Array = array[index].reshape(-1)[: int(np.prod(shape))].reshape(shape)
        return part

    @override
    def put(self, array: Array, values: Array) -> None:
        array[...] = values

    @override
    def get(self, array: Array) -> Array:
        return array.copy()

    @override
    def copy_columns(self, to: Array, to_column: int, source: Array, column: int, columns: int) -> Launch:
        into = to.reshape(len(to), -1)[:, to_column : to_column + columns]
        out_of = source.reshape(len(source), -1)[:, column : column + columns]

        def copy() -> None:
            into[...] = out_of

        return copy

    @override
    def copy_row(self, to: Array, to_row: int, source: Array, row: int) -> None:
        to[to_row] = source[row]

    @override
    def capture(self, work: Sequence[Launch]) -> Launch:
        return in_order(work)

    def _threads_inside(self, width: int) -> int:
        """Return how many threads ONNX Runtime uses inside an operator."""
        return self._cores if width >= WIDE else 1


def _address(array: Array) -> int:
    if not array.flags.c_contiguous:
        raise ValueError("a graph reads and writes contiguous arrays")
    return array.ctypes.data
