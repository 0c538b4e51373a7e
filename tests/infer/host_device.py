"""A device for the kernels that is none: their sources, unchanged, compiled for the processor.

`runtimes/cluster/host_device.h` stands in for what the sources need of a GPU: threads are fibers, barriers and
exchanges switch between them.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

import slash_infer.runtimes
from slash_infer.runtimes import throughput_plan
from slash_infer.runtimes.cluster_kernel import Kernel, KernelDevice, StageKernel
from slash_infer.runtimes.cluster_plan import Call, Op, Plan
from slash_infer.runtimes.protocol import Launch, in_order
from slash_infer.runtimes.throughput_plan import Shape

SOURCES = Path(slash_infer.runtimes.__file__).parent
SHIM = Path(__file__).resolve().parent / "runtimes" / "cluster" / "host_device.h"
COMPILER = shutil.which("g++") if os.uname().machine == "x86_64" else None
PATIENCE = 2_000_000  # turns of waiting threads; the GPU's are clock cycles

Array = npt.NDArray[Any]


class HostDevice(KernelDevice[Array]):
    """A few blocks of few threads.

    Args:
        folder: where compiled kernels are kept.
        blocks: that run at the same time.
        threads: of a block.
        shared_bytes: of a block.
        change: of the source, before it is compiled.
        disorder: a seed of the order in which threads take turns, and in which what they send arrives; in order if 0.
    """

    name = "a processor"

    def __init__(
        self,
        folder: Path,
        *,
        blocks: int = 6,
        threads: int = 128,
        shared_bytes: int = 227 * 1024,
        change: Callable[[str], str] = str,
        disorder: int = 0,
    ) -> None:
        self.shared_bytes, self.threads, self.processors = shared_bytes, threads, blocks
        self._folder, self._blocks, self._change, self._disorder = folder, blocks, change, disorder
        self.plans: list[Plan] = []

    @override
    def most_clusters(self, blocks: int) -> int:
        return self._blocks // blocks

    @override
    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        spare = np.zeros(size + 64, np.uint8)  # operands are read 16 bytes at a time
        first = -spare.ctypes.data % 64
        return spare[first : first + size].view(dtype).reshape(shape)

    @override
    def put(self, array: Array, values: Array) -> None:
        array[...] = values

    @override
    def get(self, array: Array) -> Array:
        return array.copy()

    @override
    def address(self, array: Array) -> int:
        return array.ctypes.data

    @override
    def clear(self, array: Array) -> None:
        array[...] = 0

    @override
    def kernel(self, plan: Plan) -> Kernel:
        self.plans.append(plan)
        source = self._change(_source("cluster.cu"))
        return _HostKernel(build(self._folder, source, plan.macros(patience=PATIENCE)), plan, self._disorder)

    @override
    def stage_kernel(self, shape: Shape) -> StageKernel:
        source = self._change(_source("throughput.cu"))
        return _HostStageKernel(build(self._folder, source, shape.macros()), self._disorder)

    @override
    def capture(self, work: Sequence[Launch]) -> Launch:
        return in_order(work)


def _source(name: str) -> str:
    return (SOURCES / name).read_text().replace('#include "common.cuh"', (SOURCES / "common.cuh").read_text())


def build(folder: Path, source: str, macros: Mapping[str, str]) -> Path:
    """Return a library of the kernel, compiled if it is not there yet. Its `run` takes parameters and blocks."""
    defined = [f"-D{name}={value}" for name, value in macros.items()]
    included = [path.read_text() for path in (SHIM, SOURCES / "common.cuh")]
    key = hashlib.sha256("\n".join([source, *included, *defined]).encode()).hexdigest()[:16]
    library = folder / f"{key}.so"
    if not library.exists():
        name = f"{key}.{os.getpid()}"  # another process may compile the same
        path, made = folder / f"{name}.cu", folder / f"{name}.so"
        path.write_text(source)
        assert COMPILER is not None
        options = ["-O1", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-strict-aliasing", "-w"]
        options += [*defined, f"-I{SOURCES}", f'-DKERNEL_SOURCE="{path}"', "-x", "c++", str(SHIM), "-o", str(made)]
        subprocess.run([COMPILER, *options], check=True)
        made.rename(library)
    return library


class _HostKernel(Kernel):
    def __init__(self, library: Path, plan: Plan, disorder: int) -> None:
        self._library, self._blocks = ctypes.CDLL(str(library)), plan.blocks
        assert self._library.call_size() == ctypes.sizeof(Call)
        assert 4 * self._library.op_size() == ctypes.sizeof(Op)
        self._words = np.zeros(16, np.uint32)
        self._disorder = ctypes.c_uint64(disorder)

    @override
    def launch(self, call: Call) -> None:
        self._library.disorder(self._disorder)  # the library may be that of other devices, too
        self._words[:] = 0
        call.fault, call.report = self._words.ctypes.data, self._words[8:].ctypes.data
        if not self._library.run(ctypes.byref(call), self._blocks):
            raise RuntimeError(f"the kernel gave up: {self._words[8:13].tolist()}")


class _HostStageKernel(StageKernel):
    def __init__(self, library: Path, disorder: int) -> None:
        self._library = ctypes.CDLL(str(library))
        assert self._library.call_size() == ctypes.sizeof(throughput_plan.Call)
        self._disorder = ctypes.c_uint64(disorder)

    @override
    def bind(self, call: throughput_plan.Call, blocks: int) -> Launch:
        def launch() -> None:
            self._library.disorder(self._disorder)
            if not self._library.run(ctypes.byref(call), blocks):
                raise RuntimeError("the kernel did not end")

        return launch
