"""The exponential moving average (EMA) of a model's weights, which evens out the noise of single steps."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


class EMA(Generic[Model]):
    """The EMA of the weights of a model in training, as a second model.

    Args:
        model: the model in training; the EMA starts as a copy of it.
        decay: decay per step. At step n it is at most (1 + n) / (10 + n), which soon forgets the first steps.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = copy.deepcopy(model).requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # cuDNN wants the weights contiguous, and deepcopy scatters them
        self._decay = decay
        self._ema: list[torch.Tensor] = list(self.model.parameters())
        self._weights: list[torch.Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the EMA with the weights after step `step`, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._ema, self._weights, 1 - decay)
