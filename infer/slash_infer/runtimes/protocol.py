"""The interface of a runtime: it opens a bundle's model, and the model gives runners, which step batches of clips.

Most runtimes run graphs (`GraphRuntime`): they have arrays on some device, and work prepared to run on them.
Everything that depends on shapes or addresses is prepared once. Generating then only calls what was prepared, in
order. On a GPU, calls are queued on one CUDA stream, and only `Arrays.get` waits for them.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy.typing as npt

from slash_infer.bundle import Bundle, Precision
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.uniform_block import Uniform

Launch = Callable[[], None]
"""Starts prepared work."""

A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


class Unavailable(Exception):  # noqa: N818  a fact about the machine rather than an error
    """A runtime cannot work on this machine. The message says why, and what would help."""


NO_DRIVER = "there is no NVIDIA driver here"


def _has_driver() -> bool:
    """Return whether there is an NVIDIA driver: without one, no package would help."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextmanager
def cuda_packages(extra: str) -> Iterator[None]:
    """Raise `Unavailable` if the body fails to import one of the `cuda` packages: install them, if there is a driver.

    Args:
        extra: the optional dependency group of Slash that installs them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cuda"):
            raise
        if not _has_driver():
            raise Unavailable(NO_DRIVER) from error
        raise Unavailable(f"cuda-core is not installed; pip install 'slash-audio[{extra}]'") from error


class Runner(Protocol):
    """Steps a batch of clips, which it keeps in some state."""

    clips: int
    """B."""
    hop: int
    """Samples of a step, the top tier's hop."""

    def state(self) -> GenerationState:
        """Return the state that all clips are in now."""

    def set_state(self, state: GenerationState) -> None:
        """Put all clips into `state`."""

    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        """Take steps of the top tier, each of `hop` samples.

        Args:
            uniform: one draw for each sample, [B, T]; T a multiple of `hop`.
            temperature: divides each clip's logits during a step, [B, T / hop].
            floor: is subtracted from the probabilities of all codes before a draw.

        Returns:
            the codes drawn, [B, T], and their likelihoods.
        """

    def prefill(self, codes: Int32) -> None:
        """Step the frame tiers over codes that are given, instead of generating them.

        Args:
            codes: [B, T]; T a multiple of `hop`.
        """


class Model(Protocol):
    """A bundle opened on a runtime in one precision."""

    def most_clips(self, clips: int) -> int:
        """Return how many of `clips` clips one runner can take."""

    def runner(self, state: GenerationState) -> Runner:
        """Return a runner for as many clips as `state` has, in that state."""


class Runtime(Protocol):
    """Runs a bundle's model on one device."""

    name: str
    """`cpu`, `compiled`, `cuda`, `tensorrt` or `cluster`."""
    precisions: tuple[Precision, ...]
    """The precisions it supports, the fastest first."""
    clips_together: int
    """Clips to generate side by side: enough to keep the device busy, few enough to hear the first ones soon."""

    @property
    def description(self) -> str:
        """Name and version of the runtime and its device, for people."""

    def threads(self, clips: int, width: int) -> int:
        """Return how many threads should share a batch of `clips` clips of a model of this width (D)."""

    def batch_multiple(self, precision: Precision, width: int) -> int:
        """Return the number that a batch size must be a multiple of for results to be batch invariant.

        In such a batch every clip comes out identical, to the last bit, whatever the size of the batch and the other
        rows. 1 where no multiple helps, as on a GPU, whose libraries choose kernels by the size of the batch.

        Args:
            precision: of the graphs.
            width: D of the model.
        """

    def open(self, bundle: Bundle, precision: Precision) -> Model:
        """Open a bundle's model.

        Raises:
            UserError: the bundle has no such precision, or the runtime cannot run its model.
        """


class TensorType(NamedTuple):
    """Type and shape of a graph's input or output."""

    dtype: str
    """numpy's name of it."""
    shape: Sequence[Any]
    """Integers, except for the batch axis, which is left open."""


class Graph(Protocol[A_contra]):
    """A graph opened on a runtime."""

    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]

    def bind(self, arrays: Mapping[str, A_contra]) -> Launch:
        """Prepare a run on these arrays: one for every input and output, by name."""


class Arrays(Protocol[A]):
    """The memory of a device. Arrays of graphs hold 4-byte numbers."""

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> A:
        """Return a new array of zeros."""

    def put(self, array: A, values: npt.NDArray[Any]) -> None:
        """Copy values from the host into an array of the same shape."""

    def get(self, array: A) -> npt.NDArray[Any]:
        """Wait for all work that was started, and return a copy of the array on the host."""


class GraphRuntime(Runtime, Arrays[A], Protocol[A]):
    """Runs graphs on one device."""

    def load(self, content: bytes, name: str, width: int) -> Graph[A]:
        """Open a graph.

        Args:
            content: verified ONNX.
            name: for messages.
            width: D of the model; a runtime may choose the number of threads inside an operator by it.

        Raises:
            UserError: the runtime rejects the graph.
        """

    def part(self, array: A, index: int, shape: Sequence[int]) -> A:
        """Return a view of the first numbers of `array[index]`, as many as `shape` has, in that shape."""

    def copy_columns(self, to: A, to_column: int, source: A, column: int, columns: int) -> Launch:
        """Prepare a copy of some columns between two arrays, both seen as matrices [B, all other axes]."""

    def copy_row(self, to: A, to_row: int, source: A, row: int) -> None:
        """Copy `source[row]` to `to[to_row]`."""

    def capture(self, work: Sequence[Launch]) -> Launch:
        """Join work that always runs in this order into one launch.

        The work may be executed while it is captured, which changes the arrays it writes.
        """


def in_order(work: Sequence[Launch]) -> Launch:
    """Return a launch that starts each of `work` in turn."""

    def run() -> None:
        for launch in work:
            launch()

    return run
