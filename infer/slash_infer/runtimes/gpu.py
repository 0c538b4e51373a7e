"""An NVIDIA GPU without PyTorch: its memory, one stream, and CUDA graphs, through cuda-core and CUDA's driver API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver
from cuda.core import Device, system
from cuda.pathfinder import DynamicLibNotFoundError

from slash_infer.bundle import Precision
from slash_infer.errors import first_line
from slash_infer.runtimes.protocol import Launch, Unavailable


@dataclass(frozen=True)
class GpuArray:
    """An array in the GPU's memory, rows one after another."""

    memory: Any
    """The buffer, kept alive."""
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of the whole."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Size of one entry along the first axis."""
        return self.bytes // self.shape[0]

    def row(self, index: int) -> int:
        """Return the address of one entry along the first axis."""
        return self.address + index * self.row_bytes


class Gpu:
    """The first GPU and a stream of its own: what both runtimes that use it have in common.

    Raises:
        Unavailable: there is no GPU, or no driver for it.
    """

    def __init__(self) -> None:
        try:
            self.device = Device(0)
            self.device.set_current()
            self.stream = self.device.create_stream()
            self.handle = int(self.stream.handle)
            capability = self.device.compute_capability
            driver_version = ".".join(map(str, system.get_kernel_mode_driver_version()))
            self.identity = (self.device.name, f"{capability.major}.{capability.minor}", driver_version)
            """Name, compute capability such as 9.0, and driver version such as 580.159.4."""
        except DynamicLibNotFoundError as error:
            raise Unavailable("there is no NVIDIA driver here") from error
        except Exception as error:  # what else may be amiss has many exceptions
            raise Unavailable(f"no NVIDIA GPU can be used ({first_line(error)})") from error

    def threads(self, clips: int, width: int) -> int:  # noqa: ARG002  a GPU takes whole batches, whatever they are
        """As `Runtime` says."""
        return 1

    def batch_multiple(self, precision: Precision) -> int:  # noqa: ARG002
        """As `Runtime` says, but for rounding: libraries choose kernels by the size of the batch."""
        return 1

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> GpuArray:
        """As `Runtime` says."""
        kind = np.dtype(dtype)
        buffer = self.device.allocate(max(1, int(np.prod(shape)) * kind.itemsize), stream=self.stream)
        made = GpuArray(buffer, int(buffer.handle), tuple(shape), kind)
        buffer.fill(0, stream=self.stream)
        return made

    def part(self, array: GpuArray, index: int, shape: Sequence[int]) -> GpuArray:
        """As `Runtime` says."""
        return GpuArray(array.memory, array.row(index), tuple(shape), array.dtype)

    def put(self, array: GpuArray, values: npt.NDArray[Any]) -> None:
        """As `Runtime` says."""
        held = np.ascontiguousarray(values, array.dtype)
        if held.shape != array.shape:
            raise ValueError(f"{held.shape} does not fit {array.shape}")
        _check(driver.cuMemcpyHtoDAsync(array.address, held.ctypes.data, array.bytes, self.handle))
        self.stream.sync()  # `held` may go

    def get(self, array: GpuArray) -> npt.NDArray[Any]:
        """As `Runtime` says."""
        values = np.empty(array.shape, array.dtype)
        _check(driver.cuMemcpyDtoHAsync(values.ctypes.data, array.address, array.bytes, self.handle))
        self.stream.sync()
        return values

    def copy_columns(self, to: GpuArray, to_column: int, source: GpuArray, column: int, columns: int) -> Launch:
        """As `Runtime` says."""
        item = to.dtype.itemsize
        plan = driver.CUDA_MEMCPY2D()
        plan.srcMemoryType = plan.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        plan.srcDevice, plan.srcXInBytes, plan.srcPitch = source.address, column * item, source.row_bytes
        plan.dstDevice, plan.dstXInBytes, plan.dstPitch = to.address, to_column * item, to.row_bytes
        plan.WidthInBytes, plan.Height = columns * item, to.shape[0]

        def copy() -> None:
            _check(driver.cuMemcpy2DAsync(plan, self.handle))

        return copy

    def copy_row(self, to: GpuArray, to_row: int, source: GpuArray, row: int) -> None:
        """As `Runtime` says."""
        _check(driver.cuMemcpyDtoDAsync(to.row(to_row), source.row(row), to.row_bytes, self.handle))

    def capture(self, work: Sequence[Launch]) -> Launch:
        """Record work as one CUDA graph. It is run once before, since first runs compile and allocate."""
        for launch in work:
            launch()
        self.stream.sync()
        builder = self.stream.create_graph_builder()
        builder.begin_building()
        for launch in work:
            launch()
        graph = builder.end_building().complete()
        return lambda: graph.launch(self.stream)


def _check(result: Any) -> None:
    """Raise what the driver reports."""
    code = result[0]
    if code != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA: {code.name}")
