"""ONNX Runtime on an NVIDIA GPU."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout

import onnxruntime as ort
from typing_extensions import override

from slash_infer.bundle import Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.gpu import GpuArray, GpuGraphs
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import Launch, Unavailable

PROVIDER = "CUDAExecutionProvider"


class OnnxCuda(GpuGraphs):
    """ONNX Runtime on the first NVIDIA GPU.

    Raises:
        Unavailable: this ONNX Runtime is built without CUDA, or there is no GPU.
    """

    name = "cuda"
    precisions: tuple[Precision, ...] = ("fp16", "fp32")

    def __init__(self) -> None:
        super().__init__()
        if PROVIDER not in ort.get_available_providers():
            raise Unavailable(
                "this ONNX Runtime is built for CPUs alone; pip uninstall onnxruntime, then "
                "pip install 'slash-audio[gpu]'"
            )
        with redirect_stdout(sys.stderr):  # it prints the libraries it does not find
            ort.preload_dlls()

    @property
    @override
    def description(self) -> str:
        return f"ONNX Runtime {ort.__version__} on {self.device.name}"

    @override
    def load(self, content: bytes, name: str, width: int) -> "_CudaGraph":
        settings = {
            "device_id": "0",
            "enable_cuda_graph": "1",
            "use_tf32": "0",
            "user_compute_stream": str(self.handle),
        }
        session = open_session(content, name, ort.SessionOptions(), [(PROVIDER, settings)])
        if PROVIDER not in session.get_providers():  # ONNX Runtime falls back to the CPU silently
            raise UserError(name, "ONNX Runtime cannot use the GPU", "use `engine` cpu")
        return _CudaGraph(session, name, "cuda", lambda array: array.address)


class _CudaGraph(OnnxGraph):
    """A graph whose runs are queued on the GPU's stream and not waited for, so that `GpuGraphs.capture` records them.

    Sessions are made fit for capture (`enable_cuda_graph`), but ONNX Runtime captures nothing by itself: its graphs
    would live as long as the session, one for each batch that was ever bound.
    """

    @override
    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "-1")
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return self.bind_with(options, arrays)
