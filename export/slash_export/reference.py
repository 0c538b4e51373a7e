"""The model in float64, computing every step of its frame tiers from a state that is given."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from typing_extensions import override

from slash_train.model import FrameTier, SampleRNN

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """What a frame tier computes in N steps, each of B clips."""

    states: npt.NDArray[np.floating]
    """The RNN state after each step, [S, L, N * B, D]."""
    conditioning: npt.NDArray[np.floating]
    """What the tier below reads: conditioning [B, N * r, D], or logits where there is no sample tier."""


class Reference:
    """A model in float64 that is not run on from step to step: no rounding, its own or another's, adds up in it.

    Args:
        model: the trained model, on the CPU; it is not changed.
    """

    def __init__(self, model: SampleRNN) -> None:
        self._model = copy.deepcopy(model).double()
        self._conditioning: list[Tensor] = []  # of the last call, the top tier's first
        for tier in self._model.tiers():
            tier.add_module("recurrence", _EachStep(tier.recurrence))
            tier.register_forward_hook(self._keep_conditioning)

    def initial_state(self, clips: int) -> list[Float64]:
        """Return the learned initial state of every frame tier, [S, L, B, D]."""
        with torch.inference_mode():
            return [state.numpy() for state in self._model.initial_state(clips)]

    def __call__(
        self, codes: npt.NDArray[np.int32], states: list[npt.NDArray[np.float32]]
    ) -> tuple[Float64, list[Steps]]:
        """Compute one stretch of B clips.

        Args:
            codes: [B, C + T], the context and then T codes.
            states: of every frame tier, the lowest first, the RNN state before each of its N steps, [S, L, N * B, D].

        Returns:
            the logits of the last T codes, [B, T, Q], and what every frame tier computed.
        """
        self._conditioning.clear()
        before = [torch.from_numpy(state).double() for state in states]
        with torch.inference_mode():
            logits, after = self._model(torch.from_numpy(codes.astype(np.int64)), before)
        conditioning = reversed(self._conditioning)
        steps = [Steps(state.numpy(), values.numpy()) for state, values in zip(after, conditioning, strict=True)]
        return logits.numpy(), steps

    def _keep_conditioning(self, tier: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Tensor, Tensor]) -> None:
        """Keep the conditioning as the graphs have it: that of the lowest tier after L2 of the sample tier."""
        values, fused_linear, sample_tier = outputs[0], inputs[3], self._model.sample_tier
        if isinstance(tier, FrameTier) and tier.is_lowest and sample_tier is not None and fused_linear is None:
            values = sample_tier.second()(values)
        self._conditioning.append(values)


class _EachStep(nn.Module):
    """Runs a recurrence for N steps, each from its own state [S, L, N * B, D] instead of the step before."""

    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        self.recurrence = recurrence

    @override
    def forward(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        outputs, after = self.recurrence(inputs.flatten(0, 1).unsqueeze(0), states)
        return outputs.reshape(*inputs.shape[:2], -1), after
