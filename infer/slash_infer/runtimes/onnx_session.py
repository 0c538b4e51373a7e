"""ONNX Runtime sessions: opened from bytes, and bound to arrays of whatever device they run on."""

from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime as ort

from slash_infer.errors import UserError, first_line
from slash_infer.runtimes.protocol import Launch, TensorType

DTYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}  # ONNX Runtime's names of those that bundles have


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
        raise UserError(name, f"ONNX Runtime cannot load it ({first_line(error)})") from error


def _tensor_type(value: Any) -> TensorType:
    return TensorType(DTYPES.get(value.type, value.type), value.shape)
