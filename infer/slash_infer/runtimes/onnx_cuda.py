"""ONNX Runtime on an NVIDIA GPU. Each run that is bound becomes a CUDA graph of ONNX Runtime's own."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout

import onnxruntime as ort

from slash_infer.bundle import Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.gpu import Gpu, GpuArray
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import Launch, Unavailable, in_order

PROVIDER = "CUDAExecutionProvider"


class OnnxCuda(Gpu):
    """A `slash_infer.runtimes.protocol.Runtime` on the GPU.

    Raises:
        Unavailable: this ONNX Runtime is not built for CUDA, or there is no GPU.
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
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls()

    @property
    def description(self) -> str:
        """The runtime, its version and the GPU."""
        return f"ONNX Runtime {ort.__version__} on {self.device.name}"

    def load(self, content: bytes, name: str, width: int) -> "_CudaGraph":  # noqa: ARG002
        """As `Runtime` says."""
        settings = {
            "device_id": "0",
            "enable_cuda_graph": "1",
            "use_tf32": "0",
            "user_compute_stream": str(self.handle),
        }
        session = open_session(content, name, ort.SessionOptions(), [(PROVIDER, settings)])
        if PROVIDER not in session.get_providers():  # ONNX Runtime falls back to the CPU without a word
            raise UserError(name, "ONNX Runtime cannot use the GPU", "use `engine` cpu")
        return _CudaGraph(session, "cuda", lambda array: array.address)

    def record(self, work: Sequence[Launch]) -> Launch:
        """As `Runtime` says. The runs are CUDA graphs already; what lies between them is copied by the stream."""
        run = in_order(work)
        run()  # ONNX Runtime captures a run when it is first made
        self.stream.sync()
        return run


class _CudaGraph(OnnxGraph):
    """A session of which every bound run is captured under a number of its own."""

    _numbers = itertools.count(1)

    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(next(self._numbers)))
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return self.bind_with(options, arrays)
