"""An NVIDIA GPU without PyTorch: its memory, one stream, and CUDA graphs, through cuda-core and CUDA's driver API."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver
from cuda.core import Device, system
from cuda.pathfinder import DynamicLibNotFoundError
from typing_extensions import override

from slash_infer.bundle import Precision
from slash_infer.errors import first_line
from slash_infer.runtimes.protocol import Launch, Runtime, Unavailable


@dataclass(frozen=True)
class GpuArray:
    """A row-major array in the GPU's memory."""

    memory: Any
    """The buffer that holds it, kept alive."""
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


class Gpu(Runtime[GpuArray]):
    """The first GPU with a stream: everything that the runtimes on it share.

    Raises:
        Unavailable: there is no GPU, or no driver for it.
    """

    def __init__(self) -> None:
        with _or_unavailable():
            self.device = Device(0)
            self.device.set_current()
            self.stream = self.device.create_stream()
            self.handle = int(self.stream.handle)
            self.identity = _identity(self.device)
            """Name, compute capability such as 9.0, and driver version such as 580.159.4."""

    @override
    def threads(self, clips: int, width: int) -> int:
        return 1  # a GPU runs the whole batch

    @override
    def batch_multiple(self, precision: Precision, width: int) -> int:
        return 1  # no multiple helps: the libraries choose kernels by batch size, and these round differently

    @override
    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> GpuArray:
        kind = np.dtype(dtype)
        buffer = self.device.allocate(max(1, int(np.prod(shape)) * kind.itemsize), stream=self.stream)
        array = GpuArray(buffer, int(buffer.handle), tuple(shape), kind)
        buffer.fill(0, stream=self.stream)
        return array

    @override
    def part(self, array: GpuArray, index: int, shape: Sequence[int]) -> GpuArray:
        return GpuArray(array.memory, array.row(index), tuple(shape), array.dtype)

    @override
    def put(self, array: GpuArray, values: npt.NDArray[Any]) -> None:
        held = np.ascontiguousarray(values, array.dtype)
        if held.shape != array.shape:
            raise ValueError(f"{held.shape} does not fit {array.shape}")
        _check(driver.cuMemcpyHtoDAsync(array.address, held.ctypes.data, array.bytes, self.handle))
        self.stream.sync()  # before `held` is freed

    @override
    def get(self, array: GpuArray) -> npt.NDArray[Any]:
        values = np.empty(array.shape, array.dtype)
        _check(driver.cuMemcpyDtoHAsync(values.ctypes.data, array.address, array.bytes, self.handle))
        self.stream.sync()
        return values

    @override
    def copy_columns(self, to: GpuArray, to_column: int, source: GpuArray, column: int, columns: int) -> Launch:
        item = to.dtype.itemsize
        plan = driver.CUDA_MEMCPY2D()
        plan.srcMemoryType = plan.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        plan.srcDevice, plan.srcXInBytes, plan.srcPitch = source.address, column * item, source.row_bytes
        plan.dstDevice, plan.dstXInBytes, plan.dstPitch = to.address, to_column * item, to.row_bytes
        plan.WidthInBytes, plan.Height = columns * item, to.shape[0]

        def copy() -> None:
            _check(driver.cuMemcpy2DAsync(plan, self.handle))

        return copy

    @override
    def copy_row(self, to: GpuArray, to_row: int, source: GpuArray, row: int) -> None:
        _check(driver.cuMemcpyDtoDAsync(to.row(to_row), source.row(row), to.row_bytes, self.handle))

    @override
    def capture(self, work: Sequence[Launch]) -> Launch:
        for launch in work:  # once outside the graph: first runs compile and allocate
            launch()
        self.stream.sync()
        builder = self.stream.create_graph_builder()
        builder.begin_building()
        for launch in work:
            launch()
        graph = builder.end_building().complete()
        return lambda: graph.launch(self.stream)


def gpu_identity() -> tuple[str, str, str]:
    """Return the first GPU's name, compute capability and driver version, as `Gpu.identity` has them.

    Raises:
        Unavailable: there is no GPU, or no driver for it.
    """
    with _or_unavailable():
        device = Device(0)
        device.set_current()
        return _identity(device)


def _identity(device: Device) -> tuple[str, str, str]:
    capability = device.compute_capability
    driver_version = ".".join(map(str, system.get_kernel_mode_driver_version()))
    return device.name, f"{capability.major}.{capability.minor}", driver_version


@contextmanager
def _or_unavailable() -> Iterator[None]:
    """Raise `Unavailable` if the body finds no GPU it can use."""
    try:
        yield
    except DynamicLibNotFoundError as error:
        raise Unavailable("there is no NVIDIA driver here") from error
    except Exception as error:  # anything else that can be wrong has many exception types
        raise Unavailable(f"no NVIDIA GPU can be used ({first_line(error)})") from error


def _check(result: Any) -> None:
    """Raise an error if a driver call failed."""
    code = result[0]
    if code != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA: {code.name}")
