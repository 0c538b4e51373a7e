"""SampleRNN (Mehri et al., 2017, arXiv 1612.07837), for any number of tiers.

Shapes are written with B clips, T samples, F frames, D the width, E the embedding width, L RNN layers,
Q codes, S the tensors of an RNN's state (2 for LSTM: h and c; 1 for GRU: h). Frame tiers are numbered from the
bottom: tier k consumes FS(k) samples a step, FS(0) = 1 is the sample tier. A window of codes is int64
[B, top + T]: `top` = FS(K) codes of history, then the T to predict.
"""

from contextlib import nullcontext
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from slash_train.config import ModelConfig

State = list[Tensor]
"""[S, L, B, D] of every frame tier, the lowest tier first."""

FORGET_BIAS = 3.0  # the paper's code: an LSTM that begins by remembering


def frame_values(codes: Tensor, levels: int) -> Tensor:
    """Codes as frame tiers see them: reals in [-2, 2], evenly spaced whatever the codec (paper's code)."""
    return codes.float() * (4.0 / (levels - 1)) - 2.0


class Recurrence(nn.Module):
    """A stack of L LSTM or GRU layers, [F, B, inputs] to [F, B, D].

    With skip connections (paper's code, after Graves 2013) every layer sees the inputs besides the layer below,
    and the output is a sum of linear functions of all layers.
    """

    def __init__(self, config: ModelConfig, inputs: int) -> None:
        super().__init__()
        width, layers = config.width, config.rnn_layers
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.skips: nn.ModuleList | None = None
        if config.skip_connections:
            self.rnns = nn.ModuleList(cell(inputs + width * (i > 0), width) for i in range(layers))
            self.skips = nn.ModuleList(_linear(config, width, width, bias=i == 0) for i in range(layers))
        else:
            self.rnns = nn.ModuleList([cell(inputs, width, layers)])
        for name, parameter in self.rnns.named_parameters():
            _initialise_rnn(name, parameter, gates=4 if config.cell == "lstm" else 3)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run from `state` [S, L, B, D]; return the outputs and the state after the last step."""
        if self.skips is None:
            return _run_rnn(self.rnns[0], inputs, state)
        hidden, outputs, after = inputs, [], []
        for i, (rnn, skip) in enumerate(zip(self.rnns, self.skips, strict=True)):
            seen = torch.cat([hidden, inputs], dim=-1) if i else inputs
            hidden, last = _run_rnn(rnn, seen, state[:, i : i + 1])
            outputs.append(skip(hidden))
            after.append(last)
        return reduce(torch.add, outputs), torch.cat(after, dim=1)


def _run_rnn(rnn: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    # On a GPU autocast would hand cuDNN float16, whatever it was asked for, and small gradients would vanish there.
    with torch.autocast(inputs.device.type, enabled=False) if inputs.is_cuda else nullcontext():
        return _run_rnn_as_is(rnn, inputs.float() if inputs.is_cuda else inputs, state)


def _run_rnn_as_is(rnn: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(rnn, nn.LSTM):
        outputs, (h, c) = rnn(inputs, (state[0].contiguous(), state[1].contiguous()))
        return outputs, torch.stack((h, c)).to(state.dtype)
    outputs, h = rnn(inputs, state[0].contiguous())
    return outputs, h.unsqueeze(0).to(state.dtype)


class FrameTier(nn.Module):
    """A recurrent tier: one step per frame, then r vectors for the tier below (eq. 2-4)."""

    def __init__(self, config: ModelConfig, tier: int, levels: int) -> None:
        super().__init__()
        width = config.width
        self.frame_size = config.frame_sizes[tier - 1]
        self.hop = config.hops[tier - 1]  # samples a step moves on
        self.is_top = tier == len(config.frame_sizes)
        self.is_lowest = tier == 1
        self.upsampling = self.hop // (config.hops[tier - 2] if tier > 1 else 1)  # r
        self.made = levels if self.is_lowest and not config.mlp_layers else width  # numbers in each of the r
        self.input = None if self.is_top else _linear(config, self.frame_size, width)
        self.recurrence = Recurrence(config, self.frame_size if self.is_top else width)
        self.initial = nn.Parameter(torch.zeros(2 if config.cell == "lstm" else 1, config.rnn_layers, width))
        self.upsample = _linear(config, width, self.upsampling * self.made)

    def initial_state(self, batch: int) -> Tensor:
        """Return the learned initial state for `batch` clips, [S, L, B, D]."""
        return self.initial.unsqueeze(2).expand(-1, -1, batch, -1)

    def forward(
        self, frames: Tensor, conditioning: Tensor | None, state: Tensor, then: nn.Linear | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over `frames` [B, F, FS(k)] of reals, with conditioning [B, F, D] from above below the top.

        Args:
            frames: one frame per step.
            conditioning: None for the top tier.
            state: [S, L, B, D].
            then: a layer to apply to what goes to the tier below. It is multiplied into the upsampling
                first, which is cheaper when there are more vectors than r * D.

        Returns:
            what conditions the tier below, [B, F * r, D], and the state after the last frame.
        """
        inputs = frames if self.input is None else self.input(frames) + conditioning
        hidden, state = self.recurrence(inputs.transpose(0, 1).contiguous(), state)  # [F, B, D]
        weight: Tensor = self.upsample.weight
        bias: Tensor = self.upsample.bias
        if then is not None:
            weight = (then.weight @ weight.view(self.upsampling, self.made, -1)).flatten(0, 1)
            bias = functional.linear(bias.view(self.upsampling, self.made), then.weight, then.bias).flatten()
        made = functional.linear(hidden.transpose(0, 1), weight, bias)  # [B, F, r * D]
        return made.reshape(len(made), -1, self.made), state


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
        bound = (6 / (self.history * config.embedding)) ** 0.5  # He
        nn.init.uniform_(self.first, -bound, bound)
        if config.weight_norm:
            parametrizations.weight_norm(self, "first", dim=2)
        self.hidden = nn.ModuleList(_linear(config, width, width) for _ in range(config.mlp_layers - 1))
        self.output = _linear(config, width, levels, he=False)

    def second(self) -> nn.Linear:
        """L2, which may as well be applied to its two summands apart: nothing nonlinear comes before it."""
        return cast("nn.Linear", self.hidden[0])

    def folding_pays(self, samples: int) -> bool:
        """Whether L2 costs less applied to the table and the upsampling than to every one of `samples` samples."""
        return samples > self.history * (self.levels + self.output.in_features)

    def forward(self, codes: Tensor, conditioning: Tensor, *, folded: bool) -> Tensor:
        """Logits [B, T, Q] from codes [B, FS + T - 1] and conditioning [B, T, D], after L2 when `folded`.

        Logit t is computed from codes [:, t : t + FS] alone. L1 over the concatenated embeddings is computed
        as a sum of rows of the table `embedding @ first`, [FS, Q, D]: the same number, since nothing between
        the two is nonlinear, for FS row reads in place of FS * E * D products per sample.
        """
        table = self.embedding.weight @ self.first
        if folded:
            table = table @ self.second().weight.T
        offsets = torch.arange(self.history, device=codes.device) * self.levels
        rows = codes.unfold(1, self.history, 1) + offsets  # [B, T, FS] indices into the flattened table
        x = _sum_of_rows(table.flatten(0, 1), rows.flatten(0, 1)).view_as(conditioning) + conditioning
        x = functional.relu(x if folded else self.second()(x))
        for linear in self.hidden[1:]:
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
        # Thousands of numbers are added into one row: in float32 whatever the precision.
        wide = grad.to(torch.promote_types(grad.dtype, torch.float32))
        table_grad = wide.new_zeros(ctx.table_rows, grad.shape[1])  # type: ignore[attr-defined]
        for position in range(rows.shape[1]):
            table_grad.index_add_(0, rows[:, position], wide)
        return table_grad.to(grad.dtype), None


class SampleRNN(nn.Module):
    """Frame tiers above a sample tier, each faster than the one above it.

    Without a sample tier (`mlp_layers = 0`) the lowest frame tier gives the logits of its r samples at once.

    Args:
        config: the model's shape.
        levels: Q, the codec's number of codes.
    """

    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        self.config = config
        self.levels = levels
        tiers = range(1, len(config.frame_sizes) + 1)
        self.frame_tiers = nn.ModuleList(FrameTier(config, k, levels) for k in tiers)
        self.sample_tier = SampleTier(config, levels) if config.mlp_layers else None

    def tiers(self) -> list[FrameTier]:
        """The frame tiers, the lowest first."""
        return [cast("FrameTier", tier) for tier in self.frame_tiers]

    def initial_state(self, batch: int) -> State:
        """Return the learned initial state of every frame tier for `batch` clips."""
        return [tier.initial_state(batch) for tier in self.tiers()]

    def restart(self, state: State, starting: Tensor) -> State:
        """Return `state` with the clips where `starting` [B] is true put back to the initial state."""
        chosen = starting.view(1, 1, -1, 1)
        fresh = self.initial_state(len(starting))
        return [torch.where(chosen, new, old) for new, old in zip(fresh, state, strict=True)]

    def forward(self, codes: Tensor, state: State, starting: Tensor | None = None) -> tuple[Tensor, State]:
        """Logits for the last T codes of a window, each from the codes before it.

        Args:
            codes: int64 [B, top + T], T a multiple of the top tier's hop; the very last code is predicted,
                never read.
            state: as `initial_state` makes it or an earlier call returned it.
            starting: bool [B], the clips to put back to the initial state first.

        Returns:
            logits [B, T, Q], and the state to carry into the window that follows.
        """
        if starting is not None:
            state = self.restart(state, starting)
        top, length = self.config.top_frame, codes.shape[1] - self.config.top_frame
        sample_tier = self.sample_tier
        folded = sample_tier is not None and sample_tier.folding_pays(len(codes) * length)
        values = frame_values(codes, self.levels).to(state[0].dtype)
        made: Tensor | None = None
        after = list(state)
        for k in reversed(range(len(self.tiers()))):
            tier = self.tiers()[k]
            start = top - tier.frame_size  # a step sees the frame just before the samples it conditions
            frames = values[:, start : top + length - tier.hop].unfold(1, tier.frame_size, tier.hop)
            then = sample_tier.second() if sample_tier is not None and folded and tier.is_lowest else None
            made, after[k] = tier(frames, made, state[k], then)
        if sample_tier is None:
            return cast("Tensor", made), after
        return sample_tier(codes[:, top - sample_tier.history : -1], made, folded=folded), after


def _linear(config: ModelConfig, inputs: int, outputs: int, *, bias: bool = True, he: bool = True) -> nn.Linear:
    """Return a linear layer, He-initialised unless told otherwise (then LeCun), as in the paper's code."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu" if he else "linear")
    if bias:
        nn.init.zeros_(linear.bias)
    return parametrizations.weight_norm(linear) if config.weight_norm else linear


def _initialise_rnn(name: str, parameter: nn.Parameter, gates: int) -> None:
    """LeCun for the inputs, orthogonal recurrence, a forget bias for LSTM."""
    if "weight_hh" in name:
        for gate in parameter.data.chunk(gates):
            nn.init.orthogonal_(gate)
    elif "weight_ih" in name:
        nn.init.kaiming_uniform_(parameter, nonlinearity="linear")
    else:
        nn.init.zeros_(parameter)
        if "bias_ih" in name and gates == 4:  # PyTorch adds two biases; the order is input, forget, cell, output
            parameter.data.chunk(4)[1].fill_(FORGET_BIAS)
