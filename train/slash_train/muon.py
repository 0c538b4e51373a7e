"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum, with each update made orthogonal.

`torch.optim.Muon` takes one matrix at a time, and takes the stacked gates of an RNN for one. Here a parameter may be
several matrices stacked, and matrices of equal shape are made orthogonal together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, chosen by Jordan et al. to lift small singular values fastest."""
ITERATIONS = 5
SMALLEST_NORM = 1e-7


@dataclass(frozen=True)
class Matrices:
    """A parameter [n * rows, columns] that is n matrices stacked, such as the gates of an RNN."""

    name: str
    parameter: nn.Parameter
    count: int

    def split(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the parameter's shape as a view [n, rows, columns]."""
        return tensor.view(self.count, -1, tensor.shape[1])


class Muon:
    """Optimises matrices.

    Args:
        matrices: the parameters.
        dtype: what the orthogonal updates are computed in; bfloat16 is enough where it is fast.
    """

    def __init__(self, matrices: Sequence[Matrices], dtype: torch.dtype) -> None:
        self.momenta = {one.name: torch.zeros_like(one.parameter) for one in matrices}
        """By name, of the parameter's shape."""
        self._dtype = dtype
        by_shape = sorted(matrices, key=_shape)
        self._alike = [list(group) for _, group in groupby(by_shape, key=_shape)]

    @torch.no_grad()
    def step(self, rate: float, skip: Tensor) -> None:
        """Update the parameters by their gradients.

        Args:
            rate: the learning rate. An update has all its singular values near rate * sqrt(max(1, rows / columns)).
            skip: a scalar, on the parameters' device: if not 0, nothing changes, whatever the gradients hold.
        """
        for group in self._alike:
            updates = torch.cat([one.split(self._update(one, skip)) for one in group])
            rows, columns = updates.shape[1:]
            directions = orthogonal(updates.to(self._dtype)) * (rate * math.sqrt(max(1, rows / columns)))
            for one, direction in zip(group, torch.split(directions, [one.count for one in group]), strict=True):
                step = torch.where(skip > 0, torch.zeros_like(direction), direction)
                one.split(one.parameter).sub_(step)

    def _update(self, one: Matrices, skip: Tensor) -> Tensor:
        """Take a gradient into its momentum; return Nesterov's momentum."""
        gradient, momentum = cast("Tensor", one.parameter.grad), self.momenta[one.name]
        momentum.copy_(torch.where(skip > 0, momentum, momentum.lerp(gradient, 1 - MOMENTUM)))
        return gradient.lerp(momentum, MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return for each matrix roughly the nearest orthogonal one: its singular values come out between 0.7 and 1.2.

    Args:
        matrices: [n, rows, columns].

    Returns:
        float32 [n, rows, columns].
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.float().norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM).to(x.dtype)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


def _shape(one: Matrices) -> tuple[int, ...]:
    return tuple(one.split(one.parameter).shape[1:])
