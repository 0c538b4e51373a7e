"""Bundles of untrained models in shapes that no preset has."""

from collections.abc import Sequence
from pathlib import Path

import torch

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import Bundle, Precision
from slash_train.config import load_preset
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

ODD = {
    "three frame tiers with skip connections": [
        "model.hops=[2,4,8]", "model.rnn_layers=2", "model.skip_connections=true", "model.width=48",
    ],
    "GRU layers, a deep sample tier and 100 codes": [
        "model.cell=gru", "model.rnn_layers=2", "model.mlp_layers=4", "model.width=48", "audio.codec.levels=100",
    ],
    "no sample tier, frames that overlap": [
        "model.hops=[1]", "model.frame_sizes=[8]", "model.mlp_layers=0", "model.width=40",
    ],
}  # fmt: skip


def write_odd(
    folder: Path,
    overrides: Sequence[str],
    precisions: Sequence[Precision] = ("fp32", "fp16"),
    like: str = "tiny",
) -> Bundle:
    """Write the bundle of a model like a preset, with some values changed."""
    preset = load_preset(like, overrides)
    torch.manual_seed(0)
    model = SampleRNN(preset.model, preset.audio.codec.levels).eval()
    write_unchecked(folder, TrainedModel(model, preset, "odd", 0, None), precisions)
    return Bundle(folder)
