"""An NVIDIA GPU as a device of Slash's kernels: compiles them with NVRTC, and launches them."""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from cuda.bindings import driver
from cuda.core import Program, ProgramOptions
from cuda.core.utils import FileStreamProgramCache
from cuda.pathfinder import DynamicLibNotFoundError
from typing_extensions import override

from slash_infer.errors import Argument, UserError, first_line
from slash_infer.runtimes import throughput_plan
from slash_infer.runtimes.cluster_kernel import Kernel, KernelDevice, StageKernel, kernel_source
from slash_infer.runtimes.cluster_plan import Call, DoesNotFit, Plan
from slash_infer.runtimes.gpu import Gpu, GpuArray, check, is_of_cuda
from slash_infer.runtimes.plan_cache import user_cache
from slash_infer.runtimes.protocol import Launch, Unavailable
from slash_infer.runtimes.throughput_plan import Shape

THREADS = 256
PORTABLE_CLUSTER = 8  # blocks; more must be allowed
PROBE = 'extern "C" __global__ void probe() {}'
REPORT_WORDS = 8  # that a thread which gives up writes for the host: place, block, thread, expected, seen


class ClusterGpu(Gpu, KernelDevice[GpuArray]):
    """The first GPU.

    Raises:
        Unavailable: there is no GPU, it has no clusters, or NVRTC is not installed or too old.
    """

    threads = THREADS

    def __init__(self) -> None:
        super().__init__("cluster")
        self.name = self.device.name
        capability = self.device.compute_capability
        if capability.major < 9:
            raise Unavailable(
                f"the cluster kernel needs compute capability 9.0 or later; "
                f"{self.name} has {capability.major}.{capability.minor}"
            )
        self._arch = f"sm_{capability.major}{capability.minor}" + ("a" if capability.major == 9 else "")
        self._cache = FileStreamProgramCache(user_cache("kernels"))
        attribute = driver.CUdevice_attribute
        self.shared_bytes = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.processors = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        try:
            self._probe = self._function(PROBE, {}, "probe")
        except UserError as error:
            raise Unavailable(f"{error.fault}; {error.remedy}") from error

    @override
    def most_clusters(self, blocks: int) -> int:
        self._prepare(self._probe, blocks)
        with self.turn():
            found = driver.cuOccupancyMaxActiveClusters(self._probe.handle, self._config(blocks, blocks))
            too_large = found[0] == driver.CUresult.CUDA_ERROR_INVALID_CLUSTER_SIZE
            return 0 if too_large else int(check(found))

    @override
    def address(self, array: GpuArray) -> int:
        return array.address

    @override
    def clear(self, array: GpuArray) -> None:
        with self.turn():
            check(driver.cuMemsetD8Async(array.address, 0, array.bytes, self.handle))

    @override
    def kernel(self, plan: Plan) -> "GpuKernel":
        function = self._function(kernel_source("cluster.cu"), plan.macros(), "generate")
        self._prepare(function, plan.cluster)
        return GpuKernel(self, function, self._config(plan.blocks, plan.cluster))

    @override
    def stage_kernel(self, shape: Shape) -> "GpuStageKernel":
        function = self._function(kernel_source("throughput.cu"), shape.macros(), "generate")
        self._prepare(function, 1)
        return GpuStageKernel(self, function, shape)

    def compile(self, source: str, macros: Mapping[str, str]) -> bytes:
        """Compile a program for this GPU, unless the user's cache has it.

        Raises:
            DoesNotFit: it asks for more than the GPU has.
            UserError: NVRTC is not installed, or refuses the program.
        """
        subject = Argument("engine", "cluster")
        options = ProgramOptions(arch=self._arch, std="c++17", define_macro=list(macros.items()) or None)
        try:
            code: bytes = Program(source, "c++", options).compile("cubin", cache=self._cache).code
        except DynamicLibNotFoundError as error:
            remedy = "pip install 'slash-audio[cluster]'"
            raise UserError(subject, "NVRTC is not installed", remedy) from error
        except Exception as error:
            if not (isinstance(error, RuntimeError) or is_of_cuda(error)):
                raise
            if "static assertion" in str(error):
                raise DoesNotFit("a block of the sample tier needs more shared memory than there is") from None
            fault = f"NVRTC cannot compile the kernel ({first_line(error)})"
            raise UserError(subject, fault, "install a later one, or use `engine` cuda") from error
        return code

    def launch_configuration(self, blocks: int, shared_bytes: int) -> Any:
        """Return the configuration of a launch on this GPU's stream."""
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = self.threads, 1, 1
        config.sharedMemBytes = shared_bytes
        config.hStream = self.handle
        return config

    def _attribute(self, attribute: driver.CUdevice_attribute) -> int:
        with self.turn():
            return int(check(driver.cuDeviceGetAttribute(attribute, self.device.device_id)))

    def _function(self, source: str, macros: Mapping[str, str], name: str) -> "_Function":
        code = self.compile(source, macros)
        with self.turn():
            return _Function(code, name)

    def _prepare(self, function: "_Function", cluster: int) -> None:
        """Allow a function all shared memory, and clusters of a size."""
        attribute = driver.CUfunction_attribute
        settings = {attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: self.shared_bytes}
        if cluster > PORTABLE_CLUSTER:
            settings[attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1
        with self.turn():
            for what, value in settings.items():
                check(driver.cuFuncSetAttribute(function.handle, what, value))

    def _config(self, blocks: int, cluster: int) -> Any:
        config = self.launch_configuration(blocks, self.shared_bytes)
        size = driver.CUlaunchAttribute()
        size.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        size.value.clusterDim.x, size.value.clusterDim.y, size.value.clusterDim.z = cluster, 1, 1
        config.attrs, config.numAttrs = [size], 1
        return config


class _Function:
    """A function of a program, with the module that holds it."""

    def __init__(self, code: bytes, name: str) -> None:
        self._code = code
        self._module = check(driver.cuModuleLoadData(code))
        self.handle = check(driver.cuModuleGetFunction(self._module, name.encode()))


class GpuKernel(Kernel):
    """The kernel on a GPU.

    Args:
        gpu: where it is.
        function: the kernel.
        config: of its launches.
    """

    def __init__(self, gpu: ClusterGpu, function: _Function, config: Any) -> None:
        self._gpu, self._function, self._config = gpu, function, config
        self._fault = gpu.array([1], np.uint32)
        with gpu.turn():
            mapped = driver.CU_MEMHOSTALLOC_DEVICEMAP
            host = int(check(driver.cuMemHostAlloc(4 * REPORT_WORDS, mapped)))
            self._report_on_device = int(check(driver.cuMemHostGetDevicePointer(host, 0)))
        self._report = (ctypes.c_uint32 * REPORT_WORDS).from_address(host)

    @override
    def launch(self, call: Call) -> None:
        call.fault, call.report = self._fault.address, self._report_on_device
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(call))  # to the parameters: there is one
        with self._gpu.turn():
            self._report[:] = [0] * REPORT_WORDS
            check(driver.cuLaunchKernelEx(self._config, self._function.handle, ctypes.addressof(pointers), 0))
            check(driver.cuStreamSynchronize(self._gpu.handle))
        if self._report[0]:
            place, block, thread, expected, seen = self._report[:5]
            self._gpu.clear(self._fault)  # else nobody would wait in the next launch either
            raise UserError(
                Argument("engine", "cluster"),
                f"the kernel gave up waiting (place {place}, block {block}, thread {thread}: {seen}, not {expected})",
                "another program may hold a part of the GPU: stop it, or use `engine` cuda",
            )


class GpuStageKernel(StageKernel):
    """The kernels for many clips on a GPU.

    Args:
        gpu: where they are.
        function: all of them.
        shape: what they were compiled for.
    """

    def __init__(self, gpu: ClusterGpu, function: _Function, shape: Shape) -> None:
        self._gpu, self._function, self._shape = gpu, function, shape

    @override
    def bind(self, call: throughput_plan.Call, blocks: int) -> Launch:
        config = self._gpu.launch_configuration(blocks, self._shape.shared_bytes(call.kind))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(call))
        held = call, pointers  # pointers are addresses alone

        def launch() -> None:
            with self._gpu.turn():
                check(driver.cuLaunchKernelEx(config, self._function.handle, ctypes.addressof(held[1]), 0))

        return launch
