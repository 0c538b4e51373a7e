"""The optimiser of a run: Adam, or Muon for the matrices between layers and Adam for everything else."""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from slash_train.config import TrainingConfig
from slash_train.devices import has_fast_bf16
from slash_train.model import SampleRNN
from slash_train.muon import Matrices, Muon
from slash_train.tensor_files import scalar

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
MUON_MOMENT = "momentum"


class Optimiser:
    """Updates the weights of a model by their gradients.

    Args:
        model: the model in training.
        recipe: says which optimiser.
    """

    def __init__(self, model: SampleRNN, recipe: TrainingConfig) -> None:
        self._recipe = recipe
        matrices = list(hidden_matrices(model)) if recipe.optimiser == "muon" else []
        device = next(model.parameters()).device
        self._muon = Muon(matrices, torch.bfloat16 if has_fast_bf16(device) else torch.float32)
        by_muon = {one.name for one in matrices}
        self._adams = {name: weights for name, weights in model.named_parameters() if name not in by_muon}
        self._adam = torch.optim.Adam(self._adams.values(), lr=recipe.learning_rate, fused=True)

    def step(self, rate: float, skip: Tensor) -> None:
        """Do one step, without waiting for the device.

        Args:
            rate: what to multiply the recipe's learning rates by.
            skip: float32 scalar on the device: if not 0, no weight changes.
        """
        for group in self._adam.param_groups:
            group["lr"] = self._recipe.learning_rate * rate
        self._adam.found_inf = skip  # type: ignore[attr-defined]  # fused Adam skips the update if this is set
        self._adam.step()
        self._muon.step(self._recipe.muon_learning_rate * rate, skip)

    def moments(self) -> dict[str, Tensor]:
        """Return the moments of all weights, by the names they are saved under; zeros before the first step."""
        state = {name: self._adam.state.get(weights) or _blank(weights) for name, weights in self._adams.items()}
        adam = {f"{moment}.{name}": state[name][moment] for name in state for moment in ADAM_MOMENTS}
        return {**adam, **{f"{MUON_MOMENT}.{name}": momentum for name, momentum in self._muon.momenta.items()}}

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Go on with moments as `moments` returned them."""
        content = self._adam.state_dict()
        content["state"] = {
            i: {moment: moments[f"{moment}.{name}"] for moment in ADAM_MOMENTS} for i, name in enumerate(self._adams)
        }
        self._adam.load_state_dict(content)
        for name, momentum in self._muon.momenta.items():
            momentum.copy_(moments[f"{MUON_MOMENT}.{name}"])


def _blank(weights: Tensor) -> dict[str, Tensor]:
    average, squares = torch.zeros_like(weights), torch.zeros_like(weights)
    return dict(zip(ADAM_MOMENTS, (average, squares, scalar()), strict=True))


def hidden_matrices(model: SampleRNN) -> Iterator[Matrices]:
    """Yield the matrices between layers, which Muon is for.

    It is not for embeddings and the sample tier's first layer, which together are a table, for the output layer, for
    biases, and for the initial states.
    """
    names = {id(weights): name for name, weights in model.named_parameters()}
    gates = 4 if model.config.cell == "lstm" else 3

    def stacked(weights: Tensor, count: int) -> Matrices:
        return Matrices(names[id(weights)], model.get_parameter(names[id(weights)]), count)

    for tier in model.tiers():
        for name, weights in tier.recurrence.rnns.named_parameters():
            if "weight" in name:
                yield stacked(weights, gates)
        if tier.input is not None:
            yield stacked(tier.input.weight, 1)
        for skip in tier.recurrence.skips or ():
            yield stacked(cast("nn.Linear", skip).weight, 1)
        if model.sample_tier is not None or not tier.is_lowest:  # otherwise it is the output layer
            yield stacked(tier.upsample.weight, tier.upsampling)
    if model.sample_tier is not None:
        for layer in model.sample_tier.hidden:
            yield stacked(cast("nn.Linear", layer).weight, 1)
