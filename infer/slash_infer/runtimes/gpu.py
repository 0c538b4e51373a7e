"""An NVIDIA GPU without PyTorch: its memory, one stream, and CUDA graphs, through cuda-core and CUDA's driver API."""

import gc
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver, nvml
from cuda.core import Device, system
from cuda.pathfinder import DynamicLibNotFoundError
from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import Argument, UserError, first_line
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.protocol import NO_DRIVER, Arrays, GraphRuntime, Launch, Unavailable, in_order

REMEDY = "use another `engine`; what runs on the GPU besides, or an old driver, may be the cause"


class _Memory:
    """Owns a buffer. When it is dropped, by whichever thread, the buffer is kept until the runtime frees it.

    A buffer that is freed while its stream is captured spoils the capture.
    """

    def __init__(self, buffer: Any, dropped: deque[Any]) -> None:
        self._buffer, self._dropped = buffer, dropped

    def __del__(self) -> None:
        self._dropped.append(self._buffer)


@dataclass(frozen=True)
class GpuArray:
    """A row-major array in the GPU's memory."""

    memory: _Memory
    """What holds it, kept alive."""
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of the whole array."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Size of one entry along the first axis."""
        return self.bytes // self.shape[0]

    def row(self, index: int) -> int:
        """Return the address of one entry along the first axis."""
        return self.address + index * self.row_bytes


class Gpu(Arrays[GpuArray]):
    """The first GPU: its memory, and a stream that all work is queued on.

    It may be used from any thread. Threads take turns, since all work is queued on the one stream. What fails on the
    GPU or in its driver is raised as `UserError` by every method.

    Args:
        engine: what it is used for, to be named in messages.

    Raises:
        Unavailable: there is no GPU, or no driver for it.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self.device, self._context = _first_gpu()
        self.stream = self.device.create_stream()
        self.handle = int(self.stream.handle)
        self._lock = RLock()
        self._dropped: deque[Any] = deque()

    @cached_property
    def identity(self) -> tuple[str, str, str]:
        """Name, compute capability such as 9.0, and driver version such as 580.159.4.

        Raises:
            Unavailable: the driver does not say its version.
        """
        return _identity(self.device)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let no other thread queue work meanwhile, and make the GPU's context the thread's current one.

        Raises:
            UserError: the body fails with an error of the driver or of a library that runs on the GPU.
        """
        with self._lock:
            try:
                check(driver.cuCtxSetCurrent(self._context))
                yield
            except Exception as error:
                if not (isinstance(error, RuntimeError) or is_of_cuda(error)):
                    raise
                remedy = "generate fewer `clips` side by side" if "OUT_OF_MEMORY" in str(error) else REMEDY
                raise UserError(
                    Argument("engine", self._engine), f"the GPU failed ({first_line(error)})", remedy
                ) from error

    @override
    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> GpuArray:
        kind = np.dtype(dtype)
        with self.turn():
            self.free_dropped()
            buffer = self.device.allocate(max(1, int(np.prod(shape)) * kind.itemsize), stream=self.stream)
            buffer.fill(0, stream=self.stream)
        return GpuArray(_Memory(buffer, self._dropped), int(buffer.handle), tuple(shape), kind)

    @override
    def put(self, array: GpuArray, values: npt.NDArray[Any]) -> None:
        held = np.ascontiguousarray(values, array.dtype)
        if held.shape != array.shape:
            raise ValueError(f"{held.shape} does not fit {array.shape}")
        with self.turn():
            check(driver.cuMemcpyHtoDAsync(array.address, held.ctypes.data, array.bytes, self.handle))
            self.stream.sync()  # before `held` is freed

    @override
    def get(self, array: GpuArray) -> npt.NDArray[Any]:
        values = np.empty(array.shape, array.dtype)
        with self.turn():
            check(driver.cuMemcpyDtoHAsync(values.ctypes.data, array.address, array.bytes, self.handle))
            self.stream.sync()
        return values

    def capture(self, work: Sequence[Launch]) -> Launch:
        """Join work that always runs in this order into one launch, without running it."""
        with self.turn(), _no_garbage_collection():
            self.free_dropped()
            builder = self.stream.create_graph_builder()
            builder.begin_building()
            in_order(work)()
            graph = builder.end_building().complete()
        return _Replay(self, graph, work)

    def free_dropped(self) -> None:
        """Free the memory of arrays that are not used any more."""
        while self._dropped:
            self._dropped.popleft().close()


class GpuGraphs(Gpu, GraphRuntime[GpuArray]):
    """The first GPU, with all that the runtimes that run graphs on it share."""

    clips_together = 1024

    def __init__(self) -> None:
        super().__init__(self.name)

    @override
    def threads(self, clips: int, width: int) -> int:
        return 1  # a GPU runs the whole batch

    @override
    def batch_multiple(self, precision: Precision, width: int) -> int:
        return 1  # no multiple helps: the libraries choose kernels by batch size, and these round differently

    @override
    def open(self, bundle: Bundle, precision: Precision) -> GraphModel:
        return GraphModel(bundle, self, precision)

    @override
    def part(self, array: GpuArray, index: int, shape: Sequence[int]) -> GpuArray:
        return GpuArray(array.memory, array.row(index), tuple(shape), array.dtype)

    @override
    def copy_columns(self, to: GpuArray, to_column: int, source: GpuArray, column: int, columns: int) -> Launch:
        item = to.dtype.itemsize
        plan = driver.CUDA_MEMCPY2D()
        plan.srcMemoryType = plan.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        plan.srcDevice, plan.srcXInBytes, plan.srcPitch = source.address, column * item, source.row_bytes
        plan.dstDevice, plan.dstXInBytes, plan.dstPitch = to.address, to_column * item, to.row_bytes
        plan.WidthInBytes, plan.Height = columns * item, to.shape[0]
        held = plan, to, source  # a plan has addresses alone

        def copy() -> None:
            with self.turn():
                check(driver.cuMemcpy2DAsync(held[0], self.handle))

        return copy

    @override
    def copy_row(self, to: GpuArray, to_row: int, source: GpuArray, row: int) -> None:
        with self.turn():
            check(driver.cuMemcpyDtoDAsync(to.row(to_row), source.row(row), to.row_bytes, self.handle))

    @override
    def capture(self, work: Sequence[Launch]) -> Launch:
        with self.turn(), _no_garbage_collection():
            in_order(work)()  # once outside the graph: first runs compile and allocate
            self.stream.sync()
            return super().capture(work)


class _Replay:
    """A captured graph as a launch. It keeps alive what was captured, since a graph holds addresses alone."""

    def __init__(self, gpu: Gpu, graph: Any, work: Sequence[Launch]) -> None:
        self._gpu, self._graph, self._work = gpu, graph, work

    def __call__(self) -> None:
        with self._gpu.turn():
            self._graph.launch(self._gpu.stream)


def gpu_identity() -> tuple[str, str, str]:
    """Return the first GPU's name, compute capability and driver version, as `Gpu.identity` has them.

    Raises:
        Unavailable: there is no GPU, or no driver for it.
    """
    device, _ = _first_gpu()
    return _identity(device)


def _first_gpu() -> tuple[Device, Any]:
    """Return the first GPU, made current in this thread, and its context."""
    try:
        _available(driver.cuInit(0))
    except DynamicLibNotFoundError as error:
        raise Unavailable(NO_DRIVER) from error
    context = _available(driver.cuDevicePrimaryCtxRetain(_available(driver.cuDeviceGet(0))))
    device = Device(0)
    device.set_current()
    return device, context


def _identity(device: Device) -> tuple[str, str, str]:
    capability = device.compute_capability
    try:
        driver_version = ".".join(map(str, system.get_kernel_mode_driver_version()))
    except (DynamicLibNotFoundError, nvml.NvmlError) as error:
        raise Unavailable(f"no NVIDIA GPU can be used (its driver's version is unknown: {error})") from error
    return device.name, f"{capability.major}.{capability.minor}", driver_version


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: a library's objects that are destroyed could call the driver."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _available(result: Any) -> Any:
    """Return the value of a driver call that succeeds where there is a GPU that can be used."""
    code, *value = result
    if code != driver.CUresult.CUDA_SUCCESS:
        raise Unavailable(f"no NVIDIA GPU can be used ({code.name})")
    return value[0] if value else None


def is_of_cuda(error: Exception) -> bool:
    """Return whether an error is one of cuda-core's, which have no public base class."""
    return type(error).__module__.partition(".")[0] == "cuda"


def check(result: Any) -> Any:
    """Return the value of a driver call, if it has one.

    Raises:
        RuntimeError: the call failed.
    """
    code, *value = result
    if code != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA: {code.name}")
    return value[0] if value else None
