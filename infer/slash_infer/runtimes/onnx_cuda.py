"""ONNX Runtime on an NVIDIA GPU. ONNX Runtime captures each bound run in a CUDA graph of its own."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout

import onnxruntime as ort
from typing_extensions import override

from slash_infer.bundle import Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.gpu import Gpu, GpuArray
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import Launch, Unavailable, in_order

PROVIDER = "CUDAExecutionProvider"


class OnnxCuda(Gpu):
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
                "this ONNX Runtime is built for CPUs alone; pip uninstall onnxruntime, then, in Slash's folder, "
                "pip install '.[gpu]'"
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

    @override
    def capture(self, work: Sequence[Launch]) -> Launch:
        run = in_order(work)  # the runs become CUDA graphs by themselves; copies between them are queued as they are
        run()  # ONNX Runtime captures a run the first time it is made
        self.stream.sync()
        return run


class _CudaGraph(OnnxGraph):
    """A graph whose bound runs are each captured under a number of their own."""

    _numbers = itertools.count(1)

    @override
    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(next(self._numbers)))
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return self.bind_with(options, arrays)
