"""The cluster kernel's source, and what it needs of a device."""

from importlib import resources
from typing import Protocol

from slash_infer.runtimes.cluster_plan import Call, Plan
from slash_infer.runtimes.protocol import A, Arrays

INCLUDED = "cluster_device.cuh"


class Kernel(Protocol):
    """The kernel, compiled for a plan and loaded."""

    def launch(self, call: Call) -> None:
        """Run it, and wait for it to end.

        Raises:
            UserError: a thread waited so long for another that it gave up.
        """


class KernelDevice(Arrays[A], Protocol[A]):
    """A device that the kernel runs on."""

    name: str
    """For people."""
    shared_bytes: int
    """Of shared memory that a block may have."""
    threads: int
    """Of a block: a power of two, at least 64."""

    def most_clusters(self, blocks: int) -> int:
        """Return how many clusters of so many blocks, each with all of `shared_bytes`, run at the same time."""

    def address(self, array: A) -> int:
        """Return where an array is."""

    def clear(self, array: A) -> None:
        """Fill an array with zeros."""

    def kernel(self, plan: Plan) -> Kernel:
        """Compile the kernel for a plan.

        Raises:
            DoesNotFit: the device cannot run it.
        """


def kernel_source() -> str:
    """Return the source as one text."""
    folder = resources.files("slash_infer.runtimes")
    return (folder / "cluster.cu").read_text().replace(f'#include "{INCLUDED}"', (folder / INCLUDED).read_text())
