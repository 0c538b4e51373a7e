"""The kernels' sources, and what they need of a device."""

from collections.abc import Sequence
from importlib import resources
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from slash_infer.runtimes import cluster_plan, throughput_plan
from slash_infer.runtimes.cluster_plan import Plan
from slash_infer.runtimes.protocol import A, Arrays, Launch
from slash_infer.runtimes.throughput_plan import Shape

INCLUDED = ("common.cuh", "device.cuh")

SourceName = Literal["cluster.cu", "throughput.cu"]


class Kernel(Protocol):
    """The cluster kernel, compiled for a plan and loaded."""

    def launch(self, call: cluster_plan.Call) -> None:
        """Run it, and wait for it to end.

        Raises:
            UserError: a thread waited so long for another that it gave up.
        """


class StageKernel(Protocol):
    """The kernels for many clips, compiled and loaded."""

    def bind(self, call: throughput_plan.Call, blocks: int) -> Launch:
        """Prepare a launch. It does not wait for its end."""


class KernelDevice(Arrays[A], Protocol[A]):
    """A device that the kernels run on."""

    name: str
    """For people."""
    shared_bytes: int
    """Of shared memory that a block may have."""
    threads: int
    """Of a block: a power of two, at least 64."""
    processors: int
    """That run blocks at the same time."""

    def most_clusters(self, blocks: int) -> int:
        """Return how many clusters of so many blocks, each with all of `shared_bytes`, run at the same time."""

    def address(self, array: A) -> int:
        """Return where an array is."""

    def clear(self, array: A) -> None:
        """Fill an array with zeros."""

    def kernel(self, plan: Plan) -> Kernel:
        """Compile the cluster kernel for a plan.

        Raises:
            DoesNotFit: the device cannot run it.
        """

    def stage_kernel(self, shape: Shape) -> StageKernel:
        """Compile the kernels for many clips."""

    def capture(self, work: Sequence[Launch]) -> Launch:
        """Join work that always runs in this order into one launch, without running it."""


def put(device: KernelDevice[A], values: npt.NDArray[Any]) -> A:
    """Return a new array on a device, with values."""
    array = device.array(values.shape, values.dtype)
    device.put(array, values)
    return array


def filled_up(values: npt.NDArray[Any], clips: int) -> npt.NDArray[Any]:
    """Return values of as many clips as a kernel computes, [clips, ...], the further ones those of the last clip."""
    return np.pad(values, ((0, clips - len(values)), *[(0, 0)] * (values.ndim - 1)), mode="edge")


def kernel_source(name: SourceName) -> str:
    """Return a source as one text."""
    folder = resources.files("slash_infer.runtimes")
    source = (folder / name).read_text()
    for included in INCLUDED:
        source = source.replace(f'#include "{included}"', (folder / included).read_text())
    return source
