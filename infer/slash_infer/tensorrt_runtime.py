"""TensorRT: plans for this GPU, and a step of the top tier as one CUDA graph."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from slash_infer.bundle import Precision
from slash_infer.errors import UserError
from slash_infer.gpu import Gpu, GpuArray
from slash_infer.runtime import Launch
from slash_infer.tensorrt_plans import BATCHES, Compiler, PlanCache, PlanKey


class TensorRt(Gpu):
    """A `slash_infer.runtime.Runtime` on the GPU.

    Raises:
        Unavailable: TensorRT is not installed, or there is no GPU.
    """

    name = "tensorrt"
    precisions: tuple[Precision, ...] = ("fp16", "fp32")

    def __init__(self) -> None:
        self._compiler = Compiler()
        super().__init__()
        self._cache = PlanCache()
        self._runtime = self._compiler.trt.Runtime(self._compiler.logger)

    @property
    def description(self) -> str:
        """TensorRT's flavour and version, and the GPU."""
        return f"{self._compiler.flavour} {self._compiler.version} on {self.device.name}"

    def load(self, content: bytes, name: str, width: int) -> "_PlanGraph":  # noqa: ARG002
        """As `Runtime` says. The plan is taken from the cache, or built and kept there."""
        engine = self._runtime.deserialize_cuda_engine(self.plan(content, name))
        if engine is None:
            raise UserError(f"{name}: TensorRT cannot load its own plan ({self._compiler.logger.last})")
        return _PlanGraph(self._compiler, engine, name, self.handle)

    def plan(self, content: bytes, name: str) -> bytes:
        """Return the plan of a graph for this GPU."""
        sha256 = hashlib.sha256(content).hexdigest()
        flavour, version = self._compiler.flavour, self._compiler.version
        key = PlanKey(sha256, flavour, version, *self.identity)
        ahead_of_time = PlanKey(sha256, flavour, version, "any", key.compute_capability, "any")
        for candidate in (key, ahead_of_time):
            plan = self._cache.find(candidate)
            if plan is not None:
                return plan
        plan = self._compiler.build(content, name)
        self._cache.keep(key, plan)
        return plan

    def record(self, work: Sequence[Launch]) -> Launch:
        """As `Runtime` says."""
        return self.capture(work)


class _PlanGraph:
    """A plan, opened for running on one stream."""

    def __init__(self, compiler: Compiler, engine: Any, name: str, stream: int) -> None:
        trt = compiler.trt
        self._engine, self._name, self._stream = engine, name, stream
        self._context = _context(trt, engine)
        shapes = {
            tensor: ["batch" if size == -1 else size for size in engine.get_tensor_shape(tensor)]
            for tensor in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors))
        }
        reads = trt.TensorIOMode.INPUT
        self.inputs = {t: shape for t, shape in shapes.items() if engine.get_tensor_mode(t) == reads}
        self.outputs = {t: shape for t, shape in shapes.items() if t not in self.inputs}

    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        """As `Graph` says."""
        context = self._context
        self._shape(arrays)
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(self._stream):
            raise UserError(f"{self._name}: its plan cannot be captured in a CUDA graph; use --engine cuda")

        def launch() -> None:
            self._shape(arrays)  # the context serves other runs, too
            for name, array in arrays.items():
                context.set_tensor_address(name, array.address)
            if not context.execute_async_v3(self._stream):
                raise RuntimeError(f"{self._name}: TensorRT could not run it")

        return launch

    def _shape(self, arrays: Mapping[str, GpuArray]) -> None:
        for name in self.inputs:
            if not self._context.set_input_shape(name, arrays[name].shape):
                raise UserError(f"-n: a plan takes {BATCHES[0]} to {BATCHES[2]} clips side by side")


def _context(trt: Any, engine: Any) -> Any:
    """Return an execution context. TensorRT-RTX is told to compile for a shape when first it meets it, not later."""
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    return engine.create_execution_context(config)
