"""Folds the linear layers of a trained model into each other: fewer multiplications per sample, the same function.

Weight normalisation is folded into the weights. There is no nonlinearity between embedding, L1 and L2 of the sample
tier, between the lowest frame tier's upsampling and L2, or between the input projection of a lower frame tier and the
input weights of its recurrent layers. All products are computed in float64 and rounded to float32 once.
"""

import copy
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from slash_infer.errors import UserError
from slash_train.model import FrameTier, SampleRNN, SampleTier

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentLayer:
    """One recurrent layer with its G gates in PyTorch's order.

    The order is input, forget, cell, output for LSTM, and reset, update, new for GRU.
    """

    input_weight: Float32  # [G * D, inputs]
    hidden_weight: Float32  # [G * D, D]
    input_bias: Float32  # [G * D]
    hidden_bias: Float32  # [G * D]


@dataclass(frozen=True)
class FoldedFrameTier:
    """A frame tier that reads the samples of a frame and, below the top, conditioning appended to them."""

    cell: Literal["lstm", "gru"]
    layers: list[RecurrentLayer]
    skip: tuple[Float32, Float32] | None  # of all layers' outputs, concatenated: weight [L * D, D], bias [D]
    upsample: tuple[Float32, Float32]  # weight [D, r * out_features], bias [r * out_features]
    initial: Float32  # [S, L, D]
    samples: Float32  # [Q], what the tier reads for each code
    frame_size: int
    hop: int
    upsampling: int
    out_features: int  # size of each output vector: D, or Q where there is no sample tier
    is_top: bool

    @property
    def width(self) -> int:
        """D."""
        return int(self.initial.shape[2])


@dataclass(frozen=True)
class FoldedSampleTier:
    """The sample tier: a table lookup in place of embedding, L1 and L2, then the remaining layers."""

    table: Float32  # [H, Q, D], embedding @ L1 @ L2 of each position and code; L2's bias is in the upsampling
    hidden: list[tuple[Float32, Float32]]  # L3 and up: weight [D, D] to multiply from the right, bias [D]
    output: tuple[Float32, Float32]  # weight [D, Q], bias [Q]


def fold(model: SampleRNN) -> tuple[list[FoldedFrameTier], FoldedSampleTier | None]:
    """Return the folded frame tiers, the lowest first, and the folded sample tier, if the model has one.

    Args:
        model: on any device; it is not changed.

    Raises:
        UserError: a weight, or a product of weights, is not finite in float32.
    """
    plain = copy.deepcopy(model).cpu().double()
    sample_tier = plain.sample_tier
    second = sample_tier.second() if sample_tier else None
    samples = _round(_array(plain.samples))
    tiers = [_fold_frame_tier(tier, samples, second if tier.is_lowest else None) for tier in plain.tiers()]
    return tiers, _fold_sample_tier(sample_tier) if sample_tier else None


def _fold_sample_tier(tier: SampleTier) -> FoldedSampleTier:
    table = _array(tier.embedding.weight) @ _array(tier.first) @ _array(tier.second().weight).T
    return FoldedSampleTier(
        table=_round(table),
        hidden=[_linear(cast("nn.Linear", layer)) for layer in tier.hidden[1:]],
        output=_linear(tier.output),
    )


def _fold_frame_tier(tier: FrameTier, samples: Float32, second: nn.Linear | None) -> FoldedFrameTier:
    weight, bias = _array(tier.upsample.weight).T, _array(tier.upsample.bias)
    if second is not None:
        weight = weight.reshape(len(weight), tier.upsampling, -1) @ _array(second.weight).T  # [D, r, D]
        weight = weight.reshape(len(weight), -1)
        bias = (bias.reshape(tier.upsampling, -1) @ _array(second.weight).T + _array(second.bias)).reshape(-1)
    skips = tier.recurrence.skips
    return FoldedFrameTier(
        cell="lstm" if isinstance(tier.recurrence.rnns[0], nn.LSTM) else "gru",
        layers=_fold_layers(tier),
        skip=_fold_skips([cast("nn.Linear", skip) for skip in skips]) if skips is not None else None,
        upsample=(_round(weight), _round(bias)),
        initial=_round(_array(tier.initial)),
        samples=samples,
        frame_size=tier.frame_size,
        hop=tier.hop,
        upsampling=tier.upsampling,
        out_features=tier.out_features,
        is_top=tier.is_top,
    )


def _fold_layers(tier: FrameTier) -> list[RecurrentLayer]:
    """Fold the input projection of a lower tier into the layers that read it.

    A layer that reads v = W x + b + conditioning becomes one that reads [x; conditioning]:
    W_ih [h; v] = [W_h, W_v W, W_v] [h; x; conditioning] + W_v b, where h is the output of the layer below, if any.
    """
    layers = []
    for rnn in (cast("nn.RNNBase", rnn) for rnn in tier.recurrence.rnns):
        for i in range(rnn.num_layers):
            weight, hidden_weight, bias, hidden_bias = (
                _array(getattr(rnn, f"{kind}_l{i}")) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            reads_inputs = i == 0
            if reads_inputs and tier.input is not None:
                below, projected = np.split(weight, [weight.shape[1] - tier.input.out_features], axis=1)
                bias = bias + projected @ _array(tier.input.bias)
                weight = np.hstack([below, projected @ _array(tier.input.weight), projected])
            layers.append(RecurrentLayer(_round(weight), _round(hidden_weight), _round(bias), _round(hidden_bias)))
    return layers


def _fold_skips(skips: list[nn.Linear]) -> tuple[Float32, Float32]:
    return _round(np.vstack([_array(skip.weight).T for skip in skips])), _round(_array(skips[0].bias))


def _linear(linear: nn.Linear) -> tuple[Float32, Float32]:
    """Return the weight of a linear layer, to multiply from the right, and its bias."""
    return _round(_array(linear.weight).T), _round(_array(linear.bias))


def _array(tensor: Tensor) -> Float64:
    """Return a weight as the layer uses it, after weight normalisation."""
    return np.asarray(tensor.detach().numpy())


def _round(value: Float64) -> Float32:
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(value, dtype=np.float32)
    if not np.isfinite(rounded).all():
        raise UserError(None, "the model's weights are too large for float32", "export another `checkpoint`")
    return rounded
