"""ONNX Runtime on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from slash_infer.bundle import Precision
from slash_infer.errors import UserError, first_line
from slash_infer.machine import usable_cores
from slash_infer.runtime import Launch, TensorType, in_order

Array = npt.NDArray[Any]

# Measured, docs/performance.md: products of this width gain from threads inside them. Narrower ones are over before
# the threads are awake, so there whole clips are shared out among threads, when each gets enough of them to pay.
WIDE = 512
CLIPS_PER_THREAD = 8
MOST_THREADS = 8
DTYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}  # ONNX Runtime's names of those that bundles have


class OnnxCpu:
    """A `slash_infer.runtime.Runtime` on the CPU. Its arrays are numpy's.

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

    def threads_for(self, clips: int, width: int) -> int:
        """As `Runtime` says."""
        return 1 if width >= WIDE else max(1, min(self._cores, clips // CLIPS_PER_THREAD))

    def rows_at_once(self, precision: Precision) -> int:
        """As `Runtime` says. In int8 ONNX Runtime takes rows in pairs; what is left over is rounded differently."""
        return 2 if precision == "int8" else 1

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


class OnnxGraph:
    """A session, whose runs are bound to arrays.

    Args:
        session: opened for one execution provider.
        device: ONNX Runtime's name of where the arrays are.
        address: of an array of that device.
    """

    def __init__(self, session: ort.InferenceSession, device: str, address: Callable[[Any], int]) -> None:
        self._session, self._device, self._address = session, device, address
        self.inputs = {value.name: _tensor_type(value) for value in session.get_inputs()}
        self.outputs = {value.name: _tensor_type(value) for value in session.get_outputs()}

    def bind(self, arrays: Mapping[str, Any]) -> Launch:
        """As `Graph` says."""
        return self.bind_with(None, arrays)

    def bind_with(self, options: ort.RunOptions | None, arrays: Mapping[str, Any]) -> Launch:
        """Prepare a run with options of its own, which cost tens of microseconds a run: none is faster."""
        binding = self._session.io_binding()
        for name, array in arrays.items():
            bind = binding.bind_input if name in self.inputs else binding.bind_output
            bind(name, self._device, 0, array.dtype.type, array.shape, self._address(array))
        run = self._session.run_with_iobinding
        held = binding, arrays  # the binding knows addresses alone: the arrays must live as long

        def launch() -> None:
            run(held[0], options)

        return launch


def open_session(
    content: bytes, name: str, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    """Open a graph, or say that ONNX Runtime rejects it."""
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.load_model_format", "ONNX")  # else it goes by the first bytes
    try:
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(f"{name}: ONNX Runtime cannot load it ({first_line(error)})") from error


def _tensor_type(value: Any) -> TensorType:
    return TensorType(DTYPES.get(value.type, value.type), value.shape)


def _address(array: Array) -> int:
    if not array.flags.c_contiguous:
        raise ValueError("a graph reads and writes contiguous arrays")
    return array.ctypes.data
