"""TensorRT: plans for this GPU, and a step of the top tier as one CUDA graph."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from slash_infer.errors import UserError, first_line
from slash_infer.runtimes.gpu import Gpu, GpuArray
from slash_infer.runtimes.protocol import Launch, TensorType, Unavailable
from slash_infer.runtimes.tensorrt_plans import BATCHES, PRECISIONS, Compiler, PlanCache


class TensorRt(Gpu):
    """A `slash_infer.runtimes.protocol.Runtime` on the GPU.

    Raises:
        Unavailable: TensorRT is not installed, or there is no GPU.
    """

    name = "tensorrt"
    precisions = PRECISIONS

    def __init__(self) -> None:
        self._compiler = Compiler()
        super().__init__()
        self._cache = PlanCache()
        try:
            self._runtime = self._compiler.trt.Runtime(self._compiler.logger)
        except Exception as error:  # a driver too old for it, for example
            reason = f"{first_line(error)}; {self._compiler.logger.last}"
            raise Unavailable(f"{self._compiler.flavour} cannot start ({reason})") from error

    @property
    def description(self) -> str:
        """TensorRT's flavour and version, and the GPU."""
        return f"{self._compiler.flavour} {self._compiler.version} on {self.device.name}"

    def load(self, content: bytes, name: str, width: int) -> "_PlanGraph":  # noqa: ARG002
        """As `Runtime` says. The plan is taken from the cache, or built and kept there."""
        engine = self._runtime.deserialize_cuda_engine(self.plan(content, name))
        if engine is None:
            raise UserError(name, f"TensorRT cannot load its own plan ({self._compiler.logger.last})")
        return _PlanGraph(self, self._compiler.trt, engine, name)

    def plan(self, content: bytes, name: str) -> bytes:
        """Return the plan of a graph for this GPU."""
        key = self._compiler.key(content, *self.identity)
        ahead_of_time = replace(key, gpu="any", driver="any")
        plan, _ = self._cache.find_or_build([key, ahead_of_time], lambda: self._compiler.build(content, name))
        return plan

    def record(self, work: Sequence[Launch]) -> Launch:
        """As `Runtime` says."""
        return self.capture(work)


class _PlanGraph:
    """A plan, opened for running on one stream. Its runs share their working memory: they follow one another."""

    def __init__(self, runtime: TensorRt, trt: Any, engine: Any, name: str) -> None:
        self._runtime, self._trt, self._engine, self._name = runtime, trt, engine, name
        self._workspace = runtime.array([-(-engine.device_memory_size_v2 // 4)], np.int32)
        tensors = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        described = {
            tensor: TensorType(
                np.dtype(trt.nptype(engine.get_tensor_dtype(tensor))).name,
                ["batch" if size == -1 else size for size in engine.get_tensor_shape(tensor)],
            )
            for tensor in tensors
        }
        reads = {tensor for tensor in tensors if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT}
        self.inputs = {tensor: described[tensor] for tensor in tensors if tensor in reads}
        self.outputs = {tensor: described[tensor] for tensor in tensors if tensor not in reads}

    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        """As `Graph` says. Each has an execution context of its own, as captured graphs want it."""
        context = self._new_context()
        context.set_device_memory(self._workspace.address, self._engine.device_memory_size_v2)
        for name, array in arrays.items():
            if name in self.inputs and not context.set_input_shape(name, array.shape):
                raise UserError("-n", f"a plan takes {BATCHES[0]} to {BATCHES[2]} clips side by side")
            context.set_tensor_address(name, array.address)
        stream = self._runtime.handle
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
            raise UserError(self._name, "its plan cannot be captured in a CUDA graph", "use `engine` cuda")

        def launch() -> None:
            if not context.execute_async_v3(stream):
                raise RuntimeError(f"{self._name}: TensorRT could not run it")

        return launch

    def _new_context(self) -> Any:
        """Return an execution context without memory. TensorRT-RTX is to compile for a shape when it meets it."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(self._trt, "DynamicShapesKernelSpecializationStrategy"):
            return self._engine.create_execution_context(strategy)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        return self._engine.create_execution_context(config)
