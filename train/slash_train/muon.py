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
ITERATIONS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)
"""Coefficients a, b, c of x <- a x + b (x x^T) x + c (x x^T)^2 x, the first three of Polar Express (Amsel et al.
2025, arXiv 2505.16932), which lift small singular values fastest. More of them would bring the singular values nearer
to 1, and gain less than they cost."""
MARGIN = 1.01  # of the norm, for rounding
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
            rate: the learning rate. The singular values of an update are around rate * sqrt(max(1, rows / columns)).
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
    """Return for each matrix roughly the nearest orthogonal one.

    Singular values of more than a fiftieth of the matrix's norm come out between 0.15 and 1.9.

    Args:
        matrices: [n, rows, columns].

    Returns:
        float32 [n, rows, columns].
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (MARGIN * x.float().norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)).to(x.dtype)
    for a, b, c in ITERATIONS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


def _shape(one: Matrices) -> tuple[int, ...]:
    return tuple(one.split(one.parameter).shape[1:])
