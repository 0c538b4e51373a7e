"""SampleRNN (Mehri et al., 2017, arXiv 1612.07837), for any number of tiers.

Shapes are written with B clips, T samples, F frames, D the width, E the embedding width, L LSTM layers,
Q codes. Frame tiers are numbered from the bottom: tier k consumes FS(k) samples a step, FS(0) = 1 is the
sample tier. A window of codes is int64 [B, top + T]: `top` = FS(K) codes of history, then the T to predict.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from slash_train.config import ModelConfig

State = list[tuple[Tensor, Tensor]]
"""(h, c), each [L, B, D], of every frame tier, the lowest tier first."""


def frame_values(codes: Tensor, levels: int) -> Tensor:
    """Codes as frame tiers see them: reals in [-2, 2], evenly spaced whatever the codec (paper's code)."""
    return codes.float() * (4.0 / (levels - 1)) - 2.0


class FrameTier(nn.Module):
    """A recurrent tier: one LSTM step per frame, then r conditioning vectors for the tier below (eq. 2-4)."""

    def __init__(self, config: ModelConfig, tier: int) -> None:
        super().__init__()
        width, layers = config.width, config.rnn_layers
        self.frame_size = config.frame_sizes[tier - 1]
        self.is_top = tier == len(config.frame_sizes)
        self.is_lowest = tier == 1
        below = config.frame_sizes[tier - 2] if tier > 1 else 1
        self.upsampling = self.frame_size // below  # r, conditioning vectors made per step
        self.input = None if self.is_top else nn.Linear(self.frame_size, width)
        self.rnn = nn.LSTM(self.frame_size if self.is_top else width, width, layers)
        self.h0 = nn.Parameter(torch.zeros(layers, width))
        self.c0 = nn.Parameter(torch.zeros(layers, width))
        self.upsample = nn.Linear(width, self.upsampling * width)
        self._initialise()

    def _initialise(self) -> None:
        """LeCun for linear inputs, orthogonal recurrence, forget-gate bias 1."""
        for name, parameter in self.rnn.named_parameters():
            if "weight_hh" in name:
                for gate in parameter.data.chunk(4):
                    nn.init.orthogonal_(gate)
            elif "weight_ih" in name:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
            else:
                nn.init.zeros_(parameter)
                if "bias_ih" in name:  # PyTorch adds two biases; gates are ordered input, forget, cell, output
                    parameter.data.chunk(4)[1].fill_(1.0)
        for linear in (self.input, self.upsample):
            if linear is not None:
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
                nn.init.zeros_(linear.bias)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the learned (h0, c0) for `batch` clips, each [L, B, D]."""
        shape = (self.h0.shape[0], batch, self.h0.shape[1])
        return self.h0.unsqueeze(1).expand(shape), self.c0.unsqueeze(1).expand(shape)

    def forward(
        self, frames: Tensor, conditioning: Tensor | None, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over `frames` [B, F, FS(k)] of reals, with conditioning [B, F, D] from above below the top.

        Returns:
            conditioning for the tier below [B, F * r, D], and the state after the last frame.
        """
        inputs = frames if self.input is None else self.input(frames) + conditioning
        hidden, state = self.rnn(inputs.transpose(0, 1).contiguous(), state)  # [F, B, D]
        return self.upsample(hidden.transpose(0, 1)).unflatten(-1, (self.upsampling, -1)).flatten(1, 2), state


class SampleTier(nn.Module):
    """A memoryless MLP: the last FS(1) codes and one conditioning vector to the next code's logits (eq. 5-7)."""

    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        self.history = config.frame_sizes[0]
        self.levels = levels
        width = config.width
        self.embedding = nn.Embedding(levels, config.embedding)
        # L1: [FS, E, D], one matrix per position of the history, oldest first. No bias, no activation.
        self.first = nn.Parameter(torch.empty(self.history, config.embedding, width))
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(config.mlp_layers - 1))
        self.output = nn.Linear(width, levels)
        nn.init.normal_(self.first, std=(self.history * config.embedding) ** -0.5)
        for linear in self.hidden:
            nn.init.kaiming_normal_(cast("nn.Linear", linear).weight, nonlinearity="relu")
            nn.init.zeros_(cast("nn.Linear", linear).bias)
        nn.init.normal_(self.output.weight, std=width**-0.5)
        nn.init.zeros_(self.output.bias)

    def forward(self, codes: Tensor, conditioning: Tensor) -> Tensor:
        """Logits [B, T, Q] from codes [B, FS + T - 1] and conditioning [B, T, D].

        Logit t is computed from codes [:, t : t + FS] alone. L1 over the concatenated embeddings is computed
        as a sum of rows of the table `embedding @ first`, [FS, Q, D]: the same number, since nothing between
        the two is nonlinear, for FS row reads in place of FS * E * D products per sample.
        """
        table = torch.einsum("qe,fed->fqd", self.embedding.weight, self.first)
        offsets = torch.arange(self.history, device=codes.device) * self.levels
        rows = codes.unfold(1, self.history, 1) + offsets  # [B, T, FS] indices into the flattened table
        x = _sum_of_rows(table.flatten(0, 1), rows.flatten(0, 1)).view_as(conditioning) + conditioning
        for linear in self.hidden:
            x = functional.relu(linear(x))
        return cast("Tensor", self.output(x))


def _sum_of_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Gather and sum: table [R, D], rows [N, FS] to [N, D]."""
    return cast("Tensor", _SumOfRows.apply(table, rows))  # type: ignore[no-untyped-call]


class _SumOfRows(torch.autograd.Function):
    """As `embedding_bag`, with a faster backward pass."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.table_rows = table.shape[0]  # type: ignore[attr-defined]
        return functional.embedding_bag(rows, table, mode="sum")

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors  # type: ignore[attr-defined]
        (grad,) = grads
        table_grad = grad.new_zeros(ctx.table_rows, grad.shape[1])  # type: ignore[attr-defined]
        for position in range(rows.shape[1]):
            table_grad.index_add_(0, rows[:, position], grad)
        return table_grad, None


class SampleRNN(nn.Module):
    """Frame tiers above a sample tier, each faster than the one above it.

    Args:
        config: the model's shape.
        levels: Q, the codec's number of codes.
    """

    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        self.config = config
        self.levels = levels
        self.frame_tiers = nn.ModuleList(FrameTier(config, k) for k in range(1, len(config.frame_sizes) + 1))
        self.sample_tier = SampleTier(config, levels)

    def tiers(self) -> list[FrameTier]:
        """The frame tiers, the lowest first."""
        return [cast("FrameTier", tier) for tier in self.frame_tiers]

    def initial_state(self, batch: int) -> State:
        """Return the learned initial state of every frame tier for `batch` clips."""
        return [tier.initial_state(batch) for tier in self.tiers()]

    def restart(self, state: State, starting: Tensor) -> State:
        """Return `state` with the clips where `starting` [B] is true put back to the initial state."""
        chosen = starting.view(1, -1, 1)
        fresh = self.initial_state(len(starting))
        return [
            (torch.where(chosen, h0, h), torch.where(chosen, c0, c))
            for (h0, c0), (h, c) in zip(fresh, state, strict=True)
        ]

    def forward(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits for the last T codes of a window, each from the codes before it.

        Args:
            codes: int64 [B, top + T], T a multiple of `top`; the very last code is predicted, never read.
            state: as `initial_state` makes it or an earlier call returned it.

        Returns:
            logits [B, T, Q], and the state to carry into the window that follows.
        """
        top, length = self.config.top_frame, codes.shape[1] - self.config.top_frame
        values = frame_values(codes, self.levels).to(self.sample_tier.first.dtype)
        conditioning: Tensor | None = None
        after: State = [(torch.empty(0), torch.empty(0))] * len(state)
        for k in reversed(range(len(self.tiers()))):
            tier = self.tiers()[k]
            start = top - tier.frame_size  # a step sees the frame just before the samples it conditions
            frames = values[:, start : start + length].reshape(len(codes), -1, tier.frame_size)
            conditioning, after[k] = tier(frames, conditioning, state[k])
        history = codes[:, top - self.sample_tier.history : -1]
        return self.sample_tier(history, conditioning), after
