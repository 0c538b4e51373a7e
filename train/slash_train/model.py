"""SampleRNN (Mehri et al., 2017, arXiv 1612.07837) with any number of tiers.

Shapes are written with B clips, T samples, F frames, D the width, E the embedding width, L RNN layers, Q codes, and S
tensors of RNN state (2 for LSTM: h and c; 1 for GRU: h). Frame tiers are numbered from the bottom: each step of tier
k reads the FS(k) samples before it and moves on by hop(k); the sample tier reads H codes of history and has hop(0) =
1. In the paper FS(k) = hop(k) and H = hop(1); here FS(k) may be larger, and H anything. A window of codes is int64
[B, C + T]: C codes of context, the most that any tier sees, then the T codes to predict.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from slash_infer.codec import Codec
from slash_train.config import ModelConfig

State = list[Tensor]
"""The RNN state [S, L, B, D] of every frame tier, the lowest tier first."""

FORGET_BIAS = 3.0  # from the paper's code: at first, an LSTM remembers
FRAME_SCALES = {"linear": 2.0, "mu-law": 4.0}
"""What frame tiers see is samples of [-1, 1] times this; with linear codes, as in the paper's code."""


class Recurrence(nn.Module):
    """A stack of L LSTM or GRU layers, [F, B, inputs] to [F, B, D].

    With skip connections (as in the paper's code, after Graves 2013) every layer reads the inputs besides the output
    of the layer below, and the output of the stack is a sum of linear functions of all layers.
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
        """Run from `state` [S, L, B, D]; return the outputs [F, B, D] and the state after the last step."""
        if self.skips is None:
            return _run_rnn(self.rnns[0], inputs, state)
        hidden, outputs, after = inputs, [], []
        for i, (rnn, skip) in enumerate(zip(self.rnns, self.skips, strict=True)):
            layer_inputs = torch.cat([hidden, inputs], dim=-1) if i else inputs
            hidden, last = _run_rnn(rnn, layer_inputs, state[:, i : i + 1])
            outputs.append(skip(hidden))
            after.append(last)
        return reduce(torch.add, outputs), torch.cat(after, dim=1)


def _run_rnn(rnn: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    if not _autocast_leaves_rnns_out(inputs.device):
        return _call_rnn(rnn, inputs, state)
    with torch.autocast(inputs.device.type, enabled=False):
        return _call_rnn(rnn, inputs.to(state.dtype), state)


def _autocast_leaves_rnns_out(device: torch.device) -> bool:
    """Return whether RNNs run in float32 on a device, whatever the precision of the products.

    On a GPU, autocast gives cuDNN's RNNs float16, not the bfloat16 asked for, and small gradients underflow in it. On
    a CPU without AVX-512, oneDNN has no bfloat16 RNNs.
    """
    return device.type == "cuda" or (
        device.type == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    )


def _call_rnn(rnn: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(rnn, nn.LSTM):
        outputs, (h, c) = rnn(inputs, (state[0].contiguous(), state[1].contiguous()))
        return outputs, torch.stack((h, c)).to(state.dtype)
    outputs, h = rnn(inputs, state[0].contiguous())
    return outputs, h.unsqueeze(0).to(state.dtype)


class FrameTier(nn.Module):
    """A recurrent tier: one step per frame, upsampled to r conditioning vectors for the tier below (eq. 2-4).

    Args:
        config: shape of the whole model.
        tier: k, from 1.
        levels: Q.
    """

    def __init__(self, config: ModelConfig, tier: int, levels: int) -> None:
        super().__init__()
        width = config.width
        self.frame_size = config.frame_sizes[tier - 1]
        self.hop = config.hops[tier - 1]  # samples the tier advances per step
        self.is_top = tier == len(config.hops)
        self.is_lowest = tier == 1
        self.upsampling = self.hop // (config.hops[tier - 2] if tier > 1 else 1)  # r
        self.out_features = levels if self.is_lowest and not config.mlp_layers else width  # of each of the r vectors
        self.input = None if self.is_top else _linear(config, self.frame_size, width)
        self.recurrence = Recurrence(config, self.frame_size if self.is_top else width)
        self.initial = nn.Parameter(torch.zeros(2 if config.cell == "lstm" else 1, config.rnn_layers, width))
        self.upsample = _linear(config, width, self.upsampling * self.out_features)

    def initial_state(self, batch: int) -> Tensor:
        """Return the learned initial state for `batch` clips, [S, L, B, D]."""
        return self.initial.unsqueeze(2).expand(-1, -1, batch, -1)

    def forward(
        self, frames: Tensor, conditioning: Tensor | None, state: Tensor, fused_linear: nn.Linear | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence of frames.

        Args:
            frames: [B, F, FS(k)], the samples of one frame per step, scaled.
            conditioning: [B, F, D] from the tier above; None for the top tier.
            state: [S, L, B, D].
            fused_linear: a linear layer to apply to the outputs. Its weights are first multiplied into those of the
                upsampling, which costs less than applying it where there are more output vectors than r * D.

        Returns:
            the conditioning of the tier below (logits where there is no sample tier), [B, F * r, out_features], and
            the state after the last frame.
        """
        inputs = frames if self.input is None else self.input(frames) + conditioning
        hidden, state = self.recurrence(inputs.transpose(0, 1).contiguous(), state)  # [F, B, D]
        weight: Tensor = self.upsample.weight
        bias: Tensor = self.upsample.bias
        if fused_linear is not None:
            weight = (fused_linear.weight @ weight.view(self.upsampling, self.out_features, -1)).flatten(0, 1)
            bias = bias.view(self.upsampling, self.out_features)
            bias = functional.linear(bias, fused_linear.weight, fused_linear.bias).flatten()
        outputs = functional.linear(hidden.transpose(0, 1), weight, bias)  # [B, F, r * out_features]
        return outputs.reshape(len(outputs), -1, self.out_features), state


class SampleTier(nn.Module):
    """A memoryless MLP: from the last H codes and one conditioning vector to the next code's logits (eq. 5-7)."""

    def __init__(self, config: ModelConfig, codec: Codec) -> None:
        super().__init__()
        self.history = config.history
        self.levels = levels = codec.levels
        width = config.width
        self.embedding = nn.Embedding(levels, config.embedding, _weight=_smooth_embedding(codec, config.embedding))
        # L1: [H, E, D], one matrix per position of the history, oldest first. No bias, no activation.
        self.first = nn.Parameter(torch.empty(self.history, config.embedding, width))
        bound = (6 / (self.history * config.embedding)) ** 0.5  # He
        nn.init.uniform_(self.first, -bound, bound)
        if config.weight_norm:
            parametrizations.weight_norm(self, "first", dim=2)
        self.hidden = nn.ModuleList(_linear(config, width, width) for _ in range(config.mlp_layers - 1))
        self.output = _linear(config, width, levels, initialise=_initialise_output)
        self.multiplies = False
        """Whether L1 is a product of the embeddings, rather than a sum of table rows."""

    def second(self) -> nn.Linear:
        """Return L2. No nonlinearity precedes it: it can be applied to the table and the conditioning separately."""
        return cast("nn.Linear", self.hidden[0])

    def folding_pays(self, samples: int) -> bool:
        """Return whether L2 costs less on the table and the upsampling than on each of `samples` samples."""
        return not self.multiplies and samples > self.history * (self.levels + self.output.in_features)

    def forward(self, codes: Tensor, conditioning: Tensor, *, folded: bool) -> Tensor:
        """Return the logits [B, T, Q] of T consecutive samples.

        Logits t depend on codes [:, t : t + H] alone. L1 of the concatenated embeddings is computed as a sum of rows
        of the table `embedding @ first`, [H, Q, D]. The result is the same, since both are linear, and costs H row
        reads per sample instead of H * E * D multiplications. Where these are cheap, `multiplies` makes them.

        Args:
            codes: int64 [B, H + T - 1].
            conditioning: [B, T, D].
            folded: whether L2 has been applied to `conditioning` already; it is then applied to the table, too.

        Raises:
            ValueError: it has been, and the tier multiplies.
        """
        if folded and self.multiplies:
            raise ValueError("products take the conditioning before L2")
        first = self._multiplied(codes) if self.multiplies else self._looked_up(codes, folded=folded)
        x = first.view_as(conditioning) + conditioning
        x = functional.relu(x if folded else self.second()(x))
        for linear in self.hidden[1:]:
            x = functional.relu(linear(x))
        return cast("Tensor", self.output(x))

    def _looked_up(self, codes: Tensor, *, folded: bool) -> Tensor:
        table = self.embedding.weight @ self.first
        if folded:
            table = table @ self.second().weight.T
        offsets = torch.arange(self.history, device=codes.device) * self.levels
        rows = codes.unfold(1, self.history, 1) + offsets  # [B, T, H] indices into the flattened table
        return _sum_of_rows(table.flatten(0, 1), rows.flatten(0, 1))

    def _multiplied(self, codes: Tensor) -> Tensor:
        embedded = self.embedding(codes.unfold(1, self.history, 1)).flatten(2)  # [B, T, H * E]
        return cast("Tensor", embedded @ self.first.flatten(0, 1))


def _sum_of_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Sum rows of `table` [R, D], chosen by the indices `rows` [N, H], to [N, D]."""
    return cast("Tensor", _SumOfRows.apply(table, rows))  # type: ignore[no-untyped-call]


class _SumOfRows(torch.autograd.Function):
    """`embedding_bag` with a faster backward pass."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.table_rows = table.shape[0]  # type: ignore[attr-defined]
        return functional.embedding_bag(rows, table, mode="sum")

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors  # type: ignore[attr-defined]
        (grad,) = grads
        # Thousands of gradients add up in one row: accumulate in float32 or wider.
        wide = grad.to(torch.promote_types(grad.dtype, torch.float32))
        table_grad = wide.new_zeros(ctx.table_rows, grad.shape[1])  # type: ignore[attr-defined]
        for position in range(rows.shape[1]):
            table_grad.index_add_(0, rows[:, position], wide)
        return table_grad.to(grad.dtype), None


class SampleRNN(nn.Module):
    """Frame tiers on top of a sample tier, each at a higher rate than the tier above it.

    Without a sample tier (`mlp_layers = 0`) the lowest frame tier predicts the logits of its r samples at once.

    Args:
        config: the shape of the model.
        codec: what the codes stand for.
    """

    samples: Tensor
    """What frame tiers see in each code, [Q]: its sample, scaled."""

    def __init__(self, config: ModelConfig, codec: Codec) -> None:
        super().__init__()
        self.config = config
        samples = torch.tensor(codec.decode(np.arange(codec.levels))) * FRAME_SCALES[codec.kind]
        self.register_buffer("samples", samples, persistent=False)
        tiers = range(1, len(config.hops) + 1)
        self.frame_tiers = nn.ModuleList(FrameTier(config, k, codec.levels) for k in tiers)
        self.sample_tier = SampleTier(config, codec) if config.mlp_layers else None

    def tiers(self) -> list[FrameTier]:
        """Return the frame tiers, the lowest first."""
        return [cast("FrameTier", tier) for tier in self.frame_tiers]

    def initial_state(self, batch: int) -> State:
        """Return the learned initial state of every frame tier for `batch` clips."""
        return [tier.initial_state(batch) for tier in self.tiers()]

    def restart(self, state: State, starting: Tensor) -> State:
        """Return `state` with the initial state in place of that of the clips where `starting` [B] is true."""
        chosen = starting.view(1, 1, -1, 1)
        fresh = self.initial_state(len(starting))
        return [torch.where(chosen, new, old) for new, old in zip(fresh, state, strict=True)]

    def forward(self, codes: Tensor, state: State, starting: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the logits of the last T codes of a window, each given the codes before it.

        Args:
            codes: int64 [B, C + T], T a multiple of the top tier's hop. The very last code is never read.
            state: from `initial_state` or an earlier call.
            starting: bool [B], the clips to reset to the initial state first; None for none.

        Returns:
            logits [B, T, Q], and the state to carry into the next window.
        """
        if starting is not None:
            state = self.restart(state, starting)
        context, length = self.config.context, codes.shape[1] - self.config.context
        sample_tier = self.sample_tier
        folded = sample_tier is not None and sample_tier.folding_pays(len(codes) * length)
        samples = self.samples[codes]
        outputs: Tensor | None = None
        after = list(state)
        for k in reversed(range(len(self.tiers()))):
            tier = self.tiers()[k]
            start = context - tier.frame_size  # a step reads the frame just before the samples that it conditions
            frames = samples[:, start : context + length - tier.hop].unfold(1, tier.frame_size, tier.hop)
            fused = sample_tier.second() if sample_tier is not None and folded and tier.is_lowest else None
            outputs, after[k] = tier(frames, outputs, state[k], fused)
        if sample_tier is None:
            return cast("Tensor", outputs), after
        return sample_tier(codes[:, context - sample_tier.history : -1], outputs, folded=folded), after


def _initialise_hidden(weight: Tensor) -> None:
    """He's, as in the paper's code."""
    nn.init.kaiming_uniform_(weight, nonlinearity="relu")


@torch.no_grad()
def _initialise_output(weight: Tensor) -> None:
    """LeCun's, as in the paper's code, but with logits of nearby codes alike. [Q, D]."""
    weight.copy_(_random_waves(*weight.shape) / math.sqrt(weight.shape[1]))


def _linear(
    config: ModelConfig,
    inputs: int,
    outputs: int,
    *,
    bias: bool = True,
    initialise: Callable[[Tensor], None] = _initialise_hidden,
) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=bias)
    initialise(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return parametrizations.weight_norm(linear) if config.weight_norm else linear


def _smooth_embedding(codec: Codec, width: int) -> Tensor:
    """Return an embedding [Q, width] to begin with, in which nearby codes are alike (the paper's is noise).

    Its columns are the codes, the samples that they stand for, and random waves, all of a size of about 1.
    """
    embedding = _random_waves(codec.levels, width)
    codes = torch.linspace(-2, 2, codec.levels)
    samples = torch.tensor(codec.decode(np.arange(codec.levels)))
    embedding[:, :2] = torch.stack([codes, 4 * samples], dim=1)[:, :width]
    return embedding


def _random_waves(codes: int, columns: int) -> Tensor:
    """Return [codes, columns]: in each column a cosine of up to 16 periods, with a mean square of about 1."""
    position = torch.linspace(0, 1, codes).unsqueeze(1)
    periods, phases = 16 * torch.rand(columns) ** 2, 2 * math.pi * torch.rand(columns)
    return math.sqrt(2) * torch.cos(2 * math.pi * position * periods + phases)


def _initialise_rnn(name: str, parameter: nn.Parameter, gates: int) -> None:
    """Initialise as the paper's code does: LeCun for inputs, orthogonal recurrence, and a forget bias for LSTM."""
    if "weight_hh" in name:
        for gate in parameter.data.chunk(gates):
            nn.init.orthogonal_(gate)
    elif "weight_ih" in name:
        nn.init.kaiming_uniform_(parameter, nonlinearity="linear")
    else:
        nn.init.zeros_(parameter)
        if "bias_ih" in name and gates == 4:  # PyTorch adds two biases; gates are input, forget, cell, output
            parameter.data.chunk(4)[1].fill_(FORGET_BIAS)
