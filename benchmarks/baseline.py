"""SampleRNN as public PyTorch implementations write it: the baseline for Slash's training.

Codes are embedded, flattened and multiplied, H * E numbers for every sample; weight normalisation is recomputed on
every call; the optimiser is PyTorch's default Adam; gradients are clipped element by element. The interface is that
of `slash_train.model.SampleRNN`, with any number of tiers, LSTM or GRU.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from slash_train.config import ModelConfig
from slash_train.loader import Batch
from slash_train.model import State
from slash_train.streams import NO_TARGET

CLIP = 1.0  # each element of the gradient is clipped to [-1, 1]


class _FrameTier(nn.Module):
    def __init__(self, config: ModelConfig, tier: int) -> None:
        super().__init__()
        width = config.width
        self.frame_size, self.hop = config.frame_sizes[tier - 1], config.hops[tier - 1]
        self.ratio = self.hop // (config.hops[tier - 2] if tier > 1 else 1)
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.input = parametrizations.weight_norm(nn.Linear(self.frame_size, width))
        self.rnn = cell(width, width, config.rnn_layers, batch_first=True)
        self.initial = nn.Parameter(torch.zeros(2 if config.cell == "lstm" else 1, config.rnn_layers, width))
        self.upsample = parametrizations.weight_norm(nn.Linear(width, self.ratio * width))

    def forward(self, frames: Tensor, conditioning: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.input(frames)
        if conditioning is not None:
            inputs = inputs + conditioning
        given = tuple(part.contiguous() for part in state)
        hidden, last = self.rnn(inputs, given if len(given) > 1 else given[0])
        outputs = self.upsample(hidden).view(len(frames), -1, inputs.shape[-1])
        return outputs, torch.stack(last) if len(given) > 1 else last.unsqueeze(0)


class _SampleTier(nn.Module):
    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        self.history = config.history
        self.embedding = nn.Embedding(levels, config.embedding)
        self.first = parametrizations.weight_norm(
            nn.Linear(self.history * config.embedding, config.width, bias=False)
        )
        self.hidden = nn.ModuleList(
            parametrizations.weight_norm(nn.Linear(config.width, config.width)) for _ in range(config.mlp_layers - 1)
        )
        self.output = parametrizations.weight_norm(nn.Linear(config.width, levels))

    def forward(self, codes: Tensor, conditioning: Tensor) -> Tensor:
        embedded = self.embedding(codes.unfold(1, self.history, 1))  # [B, T, H, E]
        x = self.first(embedded.flatten(2)) + conditioning
        for linear in self.hidden:
            x = functional.relu(linear(x))
        return cast("Tensor", self.output(x))


class Baseline(nn.Module):
    """The model. The arguments are those of `SampleRNN`; it always has a sample tier, and no skip connections."""

    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        self.config = config
        self.levels = levels
        self.frame_tiers = nn.ModuleList(_FrameTier(config, k) for k in range(1, len(config.hops) + 1))
        self.sample_tier = _SampleTier(config, levels)

    def initial_state(self, batch: int) -> State:
        """Return the learned initial state, like `SampleRNN.initial_state`."""
        return [cast("_FrameTier", tier).initial.unsqueeze(2).expand(-1, -1, batch, -1) for tier in self.frame_tiers]

    def forward(self, codes: Tensor, state: State, starting: Tensor | None = None) -> tuple[Tensor, State]:
        """Return logits and state, like `SampleRNN.forward`."""
        if starting is not None:
            chosen = starting.view(1, 1, -1, 1)
            fresh = self.initial_state(len(starting))
            state = [torch.where(chosen, new, old) for new, old in zip(fresh, state, strict=True)]
        context, length = self.config.context, codes.shape[1] - self.config.context
        values = codes.to(state[0].dtype) * (4.0 / (self.levels - 1)) - 2.0
        outputs, after = None, list(state)
        for k in reversed(range(len(self.frame_tiers))):
            tier = cast("_FrameTier", self.frame_tiers[k])
            start = context - tier.frame_size
            frames = values[:, start : context + length - tier.hop].unfold(1, tier.frame_size, tier.hop)
            outputs, after[k] = tier(frames, outputs, state[k])
        return self.sample_tier(codes[:, context - self.sample_tier.history : -1], outputs), after


class BaselineTrainer:
    """Trains a `Baseline`. `advance` does one step, like `slash_train.trainer.Trainer.advance`."""

    def __init__(
        self, config: ModelConfig, levels: int, batch_size: int, learning_rate: float, device: torch.device
    ) -> None:
        torch.manual_seed(0)
        self.model = Baseline(config, levels).to(device)
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=learning_rate)
        self._state = [tensor.detach().clone() for tensor in self.model.initial_state(batch_size)]
        self.step = 0

    def advance(self, batch: Batch) -> None:
        """Do one optimiser step."""
        logits, state = self.model(batch.codes, self._state, batch.starting)
        self._state = [tensor.detach() for tensor in state]
        log_likelihoods = functional.log_softmax(logits, dim=-1).flatten(0, 1)
        loss = functional.nll_loss(log_likelihoods, batch.targets.flatten(), ignore_index=NO_TARGET)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(self.model.parameters(), CLIP)
        self._optimiser.step()
        self.step += 1
