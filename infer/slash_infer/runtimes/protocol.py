"""What Slash asks of whatever executes a bundle's graphs: arrays where it runs, and work prepared to run on them.

Everything that depends on shapes or addresses is prepared once; generating is calling what was prepared, in order.
On a GPU that order is a CUDA stream's: only `get` waits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy.typing as npt

from slash_infer.bundle import Precision

Launch = Callable[[], None]
"""Starts a spec of prepared work."""

A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


class Unavailable(Exception):  # noqa: N818  it is no error of the program
    """A runtime cannot work on this machine. The message says why, and what would help."""


@contextmanager
def cuda_packages(extra: str) -> Iterator[None]:
    """Turn the absence of the packages that reach a GPU, imported in the body, into `Unavailable`.

    Args:
        extra: of Slash's, that brings them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cuda"):
            raise
        raise Unavailable(f"cuda-core is not installed; in Slash's folder: pip install '.[{extra}]'") from error


class TensorType(NamedTuple):
    """What an input or output of a graph holds."""

    dtype: str
    """As numpy calls it."""
    shape: Sequence[Any]
    """The batch, an axis left open, is no integer."""


class Graph(Protocol[A_contra]):
    """An opened graph."""

    @property
    def inputs(self) -> Mapping[str, TensorType]:
        """What it reads, by name."""

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """What it writes."""

    def bind(self, arrays: Mapping[str, A_contra]) -> Launch:
        """Prepare a run on these arrays, one for every input and output, by name."""


class Runtime(Protocol[A]):
    """Somewhere to run graphs. Arrays hold 4-byte numbers."""

    name: str
    """As `--engine` names it."""
    precisions: tuple[Precision, ...]
    """Those it is for, the one `auto` prefers first."""

    @property
    def description(self) -> str:
        """What runs where, for people."""

    def threads(self, clips: int, width: int) -> int:
        """How many threads should each play a part of the clips."""

    def batch_multiple(self, precision: Precision) -> int:
        """Of what must the number of clips be a multiple for each to come out, to the last bit, as in any batch?"""

    def load(self, content: bytes, name: str, width: int) -> Graph[A]:
        """Open a graph.

        Args:
            content: verified ONNX.
            name: for messages.
            width: D, by which a runtime may choose its threads.

        Raises:
            UserError: the runtime rejects the graph.
        """

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> A:
        """Return a new array of zeros."""

    def part(self, array: A, index: int, shape: Sequence[int]) -> A:
        """Return the first numbers of `array[index]`, a view of them, in another shape."""

    def put(self, array: A, values: npt.NDArray[Any]) -> None:
        """Fill an array from the host's memory."""

    def get(self, array: A) -> npt.NDArray[Any]:
        """Wait for all that was started, and return an array's contents."""

    def copy_columns(self, to: A, to_column: int, source: A, column: int, columns: int) -> Launch:
        """Prepare a copy between two arrays seen as matrices, [B, all other axes]."""

    def copy_row(self, to: A, to_row: int, source: A, row: int) -> None:
        """Copy `source[row]` to `to[to_row]`."""

    def record(self, work: Sequence[Launch]) -> Launch:
        """Join work that is always done in this order. It may be run in passing: arrays may change."""


def in_order(work: Sequence[Launch]) -> Launch:
    """Join work by starting one spec after another."""

    def run() -> None:
        for launch in work:
            launch()

    return run
