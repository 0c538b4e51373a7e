"""TensorRT: runs plans for this GPU, with a step of the top tier captured in one CUDA graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from typing_extensions import override

from slash_infer.errors import UserError, first_line
from slash_infer.runtimes.gpu import GpuArray, GpuGraphs
from slash_infer.runtimes.plan_cache import Batches, PlanCache
from slash_infer.runtimes.protocol import Graph, Launch, TensorType, Unavailable
from slash_infer.runtimes.tensorrt_compiler import BATCHES, PLAN_PRECISIONS, Compiler, batches_for


class TensorRt(GpuGraphs):
    """TensorRT on the first NVIDIA GPU.

    Raises:
        Unavailable: TensorRT is not installed, or there is no GPU.
    """

    name = "tensorrt"
    precisions = PLAN_PRECISIONS

    def __init__(self) -> None:
        self._compiler = Compiler()
        super().__init__()
        self._cache = PlanCache()
        try:
            self._runtime = self._compiler.trt.Runtime(self._compiler.logger)
        except TypeError as error:  # the library made none: the driver is too old, for example
            reason = f"{first_line(error)}; {self._compiler.logger.last}"
            raise Unavailable(f"{self._compiler.flavour} cannot start ({reason})") from error

    @property
    @override
    def description(self) -> str:
        return f"{self._compiler.flavour} {self._compiler.version} on {self.device.name}"

    @override
    def load(self, content: bytes, name: str, width: int) -> "_PlanGraph":
        return _PlanGraph(self, self._compiler.trt, lambda batches: self._open(content, name, batches), name)

    def _open(self, content: bytes, name: str, batches: Batches) -> Any:
        """Return TensorRT's engine of a graph for a range of clips."""
        plan = self.plan(content, name, batches)
        with self.turn():
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise UserError(name, f"TensorRT cannot load its own plan ({self._compiler.logger.last})")
        return engine

    def plan(self, content: bytes, name: str, batches: Batches) -> bytes:
        """Return the plan of a graph for this GPU, from the cache or newly built. `content` is ONNX."""
        key = self._compiler.key(content, batches, *self.identity)
        ahead_of_time = replace(key, gpu="any", driver="any")
        with self.turn():
            plan, _ = self._cache.find_or_build(
                [key, ahead_of_time], lambda: self._compiler.build(content, name, batches)
            )
        return plan


@dataclass(frozen=True)
class _Plan:
    """A loaded plan. Its runs share working memory, which is safe because they follow one another on one stream."""

    engine: Any
    workspace: GpuArray


class _PlanGraph(Graph[GpuArray]):
    """A graph as plans, one for each range of clips, opened when it is needed."""

    def __init__(self, runtime: TensorRt, trt: Any, open_plan: Callable[[Batches], Any], name: str) -> None:
        self._runtime, self._trt, self._open_plan, self._name = runtime, trt, open_plan, name
        self._plans: dict[Batches, _Plan] = {}
        engine = self._plan(BATCHES[0]).engine
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

    @override
    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        stream = self._runtime.handle
        with self._runtime.turn():
            plan = self._plan(batches_for(self._clips(arrays)))
            context = self._new_context(plan.engine)  # one for each bound run: captured graphs refer to it
            context.set_device_memory(plan.workspace.address, plan.engine.device_memory_size_v2)
            for name, array in arrays.items():
                if name in self.inputs and not context.set_input_shape(name, array.shape):
                    fault = f"TensorRT does not take {name} of shape {list(array.shape)}"
                    raise UserError(self._name, fault, "use `engine` cuda or cpu")
                context.set_tensor_address(name, array.address)
            if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
                raise UserError(self._name, "its plan cannot be captured in a CUDA graph", "use `engine` cuda")
        held = context, plan, arrays  # a context has addresses alone

        def launch() -> None:
            with self._runtime.turn():
                if not held[0].execute_async_v3(stream):
                    raise UserError(self._name, "TensorRT could not run it", "use `engine` cuda or cpu")

        return launch

    def _clips(self, arrays: Mapping[str, GpuArray]) -> int:
        """Return the size of the batch axis."""
        name, tensor = next(iter(self.inputs.items()))
        return arrays[name].shape[list(tensor.shape).index("batch")]

    def _plan(self, batches: Batches) -> "_Plan":
        if batches not in self._plans:
            engine = self._open_plan(batches)
            workspace = self._runtime.array([-(-engine.device_memory_size_v2 // 4)], np.int32)
            self._plans[batches] = _Plan(engine, workspace)
        return self._plans[batches]

    def _new_context(self, engine: Any) -> Any:
        """Return an execution context without memory. TensorRT-RTX compiles for a shape as soon as it is set."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(self._trt, "DynamicShapesKernelSpecializationStrategy"):
            return engine.create_execution_context(strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        return engine.create_execution_context(config)
