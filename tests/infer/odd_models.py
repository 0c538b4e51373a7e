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
SEEN = {
    "a history of one code": ["model.history=1", "model.width=64"],
    "a history shorter than a hop": ["model.history=3"],
    "a history longer than a hop": ["model.history=7"],
    "a history longer than the lowest frame": [
        "model.frame_sizes=[6,20]", "model.history=9", "model.width=64",
    ],
    "a history longer than every frame": ["model.history=70"],
    "the lowest frame is the largest": ["model.frame_sizes=[24,16]"],
    "frames larger than hops in the middle of three": ["model.hops=[2,4,8]", "model.frame_sizes=[3,40,8]"],
    "every sample is a step": ["model.hops=[1]", "model.frame_sizes=[5]", "model.history=3"],
    "no sample tier, the lowest frame is the largest": [
        "model.hops=[2,8]", "model.frame_sizes=[20,10]", "model.mlp_layers=0",
    ],
}  # fmt: skip
"""What tiers see: each an edge of frames, hops and history."""


def odd_model(overrides: Sequence[str], like: str = "tiny") -> TrainedModel:
    """Return an untrained model like a preset, with some values changed; always the same one."""
    preset = load_preset(like, overrides)
    torch.manual_seed(0)
    model = SampleRNN(preset.model, preset.audio.codec).eval()
    return TrainedModel(model, preset, "odd", 0, None)


def write_odd(
    folder: Path,
    overrides: Sequence[str],
    precisions: Sequence[Precision] = ("fp32", "fp16"),
    like: str = "tiny",
) -> Bundle:
    """Write the bundle of an `odd_model`."""
    write_unchecked(folder, odd_model(overrides, like), precisions)
    return Bundle(folder)
