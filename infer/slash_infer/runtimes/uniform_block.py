"""Uniforms that are made where they are needed: on the host as an array, or on a device from what keys them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_infer.runtimes.generation_state import Float32, Rows

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class UniformBlock:
    """The uniforms of some rows and times. numpy takes it for an array, [B, T].

    That of a row at time t comes from a word of Philox4x64-10, keyed by (seed, clip): word t + 2**64 candidate.
    """

    seed: int
    clips: npt.NDArray[np.uint64]
    """Of all rows, [R]."""
    candidates: npt.NDArray[np.uint64]
    """Of all rows, [R]."""
    start: int
    """The first time."""
    count: int
    """T."""
    make: Callable[[Index, int, int], Float32]
    """Takes indices of rows, the first time, and T; returns the array."""
    rows: Index
    """Which of all rows these are, [B]."""

    def __len__(self) -> int:
        """Return B."""
        return len(self.rows)

    def __getitem__(self, rows: Rows) -> "UniformBlock":
        """Return some of the rows, by index."""
        return replace(self, rows=self.rows[rows])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the array."""
        return self.make(self.rows, self.start, self.count).astype(dtype or np.float32, copy=False)

    def keys(self) -> npt.NDArray[np.uint64]:
        """Return seed, clip and candidate of each row, [B, 3]."""
        seeds = np.full(len(self.rows), self.seed, np.uint64)
        return np.stack([seeds, self.clips[self.rows], self.candidates[self.rows]], axis=1)


Uniform = Float32 | UniformBlock
"""One draw for each sample, [B, T]."""
