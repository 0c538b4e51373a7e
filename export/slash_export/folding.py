"""Folds a trained model's linear layers into each other: fewer products per sample, the same function.

The sample tier has nothing nonlinear between embedding, L1 and L2, and nothing between the lowest frame tier's
upsampling and L2; a lower frame tier has nothing between its input projection and the LSTM's input weights.
Their products are taken here in float64 and rounded to float32 once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_train.model import FrameTier, SampleRNN

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LstmLayer:
    """One LSTM layer in PyTorch's gate order (input, forget, cell, output)."""

    input_weight: Float32  # [4D, inputs]
    hidden_weight: Float32  # [4D, D]
    bias: Float32  # [4D], the sum of PyTorch's two


@dataclass(frozen=True)
class FoldedFrameTier:
    """A frame tier that reads frame values, with conditioning appended below the top."""

    layers: list[LstmLayer]
    upsample_weight: Float32  # [D, r * D]
    upsample_bias: Float32  # [r * D]
    h0: Float32  # [L, D]
    c0: Float32  # [L, D]
    frame_size: int
    upsampling: int
    is_top: bool

    @property
    def width(self) -> int:
        """D."""
        return int(self.h0.shape[1])


@dataclass(frozen=True)
class FoldedSampleTier:
    """The sample tier after L2: a table look-up, then the remaining layers."""

    table: Float32  # [FS, Q, D], embedding * L1 * L2 of each position and code; L2's bias is in the upsampling
    hidden: list[tuple[Float32, Float32]]  # L3 ..: weight [D, D] to multiply from the right, bias [D]
    output: tuple[Float32, Float32]  # weight [D, Q], bias [Q]


def fold(model: SampleRNN) -> tuple[list[FoldedFrameTier], FoldedSampleTier]:
    """Return the folded frame tiers, the lowest first, and the folded sample tier of a model on the CPU."""
    parameters = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}
    frame_tiers = [
        _fold_frame_tier(tier, _below(parameters, f"frame_tiers.{i}."), _below(parameters, "sample_tier."))
        for i, tier in enumerate(model.tiers())
    ]
    return frame_tiers, _fold_sample_tier(_below(parameters, "sample_tier."), model.config.mlp_layers)


def _fold_sample_tier(own: dict[str, Float64], mlp_layers: int) -> FoldedSampleTier:
    table = own["embedding.weight"] @ own["first"] @ own["hidden.0.weight"].T
    return FoldedSampleTier(
        table=_round(table),
        hidden=[_linear(own, f"hidden.{i}") for i in range(1, mlp_layers - 1)],
        output=_linear(own, "output"),
    )


def _fold_frame_tier(tier: FrameTier, own: dict[str, Float64], sample: dict[str, Float64]) -> FoldedFrameTier:
    weight = own["upsample.weight"].T.reshape(-1, tier.upsampling, own["h0"].shape[1])  # [D, r, D]
    bias = own["upsample.bias"].reshape(tier.upsampling, -1)  # [r, D]
    if tier.is_lowest:
        second = sample["hidden.0.weight"].T
        weight, bias = weight @ second, bias @ second + sample["hidden.0.bias"]
    return FoldedFrameTier(
        layers=_fold_lstm(tier, own),
        upsample_weight=_round(weight.reshape(len(weight), -1)),
        upsample_bias=_round(bias.reshape(-1)),
        h0=_round(own["h0"]),
        c0=_round(own["c0"]),
        frame_size=tier.frame_size,
        upsampling=tier.upsampling,
        is_top=tier.is_top,
    )


def _fold_lstm(tier: FrameTier, own: dict[str, Float64]) -> list[LstmLayer]:
    """Below the top, W_ih (W x + b + conditioning) = [W_ih W, W_ih] [x; conditioning] + W_ih b."""
    layers = []
    for layer in range(tier.rnn.num_layers):
        input_weight = own[f"rnn.weight_ih_l{layer}"]
        bias = own[f"rnn.bias_ih_l{layer}"] + own[f"rnn.bias_hh_l{layer}"]
        if layer == 0 and not tier.is_top:
            bias = bias + input_weight @ own["input.bias"]
            input_weight = np.hstack([input_weight @ own["input.weight"], input_weight])
        layers.append(LstmLayer(_round(input_weight), _round(own[f"rnn.weight_hh_l{layer}"]), _round(bias)))
    return layers


def _linear(own: dict[str, Float64], name: str) -> tuple[Float32, Float32]:
    """Return a linear layer's weight, to multiply from the right, and bias."""
    return _round(own[f"{name}.weight"].T), _round(own[f"{name}.bias"])


def _below(parameters: dict[str, Float64], prefix: str) -> dict[str, Float64]:
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}


def _round(value: Float64) -> Float32:
    return np.ascontiguousarray(value, dtype=np.float32)
