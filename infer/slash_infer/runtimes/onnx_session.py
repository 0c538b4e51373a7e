"""ONNX Runtime sessions: opened from bytes, their runs bound to arrays on the session's device."""

from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime as ort
from typing_extensions import override

from slash_infer.errors import UserError, first_line
from slash_infer.runtimes.protocol import Graph, Launch, TensorType

DTYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}  # ONNX Runtime's names of the types in a bundle


class OnnxGraph(Graph[Any]):
    """A graph run by an ONNX Runtime session.

    Args:
        session: opened on one execution provider.
        name: for messages.
        device: ONNX Runtime's name of the device that holds the arrays.
        address: returns the address of an array on that device.

    Raises:
        UserError: the names of its inputs and outputs cannot be read.
    """

    def __init__(self, session: ort.InferenceSession, name: str, device: str, address: Callable[[Any], int]) -> None:
        self._session, self._name, self._device, self._address = session, name, device, address
        try:
            self.inputs = {value.name: _tensor_type(value) for value in session.get_inputs()}
            self.outputs = {value.name: _tensor_type(value) for value in session.get_outputs()}
        except UnicodeDecodeError:
            raise UserError(name, "has names that are not UTF-8", "export the bundle again") from None

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers that run the graph."""
        return list(self._session.get_providers())

    @override
    def bind(self, arrays: Mapping[str, Any]) -> Launch:
        return self.bind_with(None, arrays)

    def bind_with(self, options: ort.RunOptions | None, arrays: Mapping[str, Any]) -> Launch:
        """Prepare a run with run options. They cost tens of microseconds a run; None costs nothing.

        The launch raises `UserError` if ONNX Runtime cannot run the graph: its shapes may be others than it declares.
        """
        binding = self._session.io_binding()
        for name, array in arrays.items():
            bind = binding.bind_input if name in self.inputs else binding.bind_output
            bind(name, self._device, 0, array.dtype.type, array.shape, self._address(array))
        run = self._session.run_with_iobinding
        held = binding, arrays  # the binding stores addresses only: this keeps the arrays alive

        def launch() -> None:
            try:
                run(held[0], options)
            except Exception as error:  # onnxruntime's exceptions have no base class in common
                fault = f"ONNX Runtime could not run it ({first_line(error)})"
                raise UserError(self._name, fault, "export the bundle again") from error

        return launch


def open_session(
    content: bytes, name: str, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    """Open a session on an ONNX graph.

    Args:
        content: verified ONNX.
        name: for messages.
        options: of the session; settings that every session needs are added.
        providers: ONNX Runtime's execution providers, with or without settings.

    Raises:
        UserError: ONNX Runtime rejects the graph.
    """
    options.log_severity_level = 4  # nothing but what ends the process: errors arrive as exceptions, too
    options.add_session_config_entry("session.load_model_format", "ONNX")  # else the first bytes choose the format
    try:
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no base class in common
        raise UserError(name, f"ONNX Runtime cannot load it ({first_line(error)})") from error


def _tensor_type(value: Any) -> TensorType:
    return TensorType(DTYPES.get(value.type, value.type), value.shape)
