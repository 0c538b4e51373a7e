"""The exponential moving average of a model's weights: what noise of single steps leaves behind."""

import copy

import torch
from torch import nn

from slash_train.model import SampleRNN


class EMA:
    """A second model whose weights follow those of the first.

    Args:
        model: the one in training; the average starts as its copy.
        decay: of the average per step, in the long run. After n steps it is at most (1 + n) / (10 + n), so that
            the first steps are soon forgotten.
    """

    def __init__(self, model: SampleRNN, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # a copy's weights lie apart, which cuDNN does not like
        self._decay = decay
        self._averaged: list[torch.Tensor] = list(self.model.parameters())
        self._newest: list[torch.Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._newest, 1 - decay)
