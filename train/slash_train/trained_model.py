"""A model that has been trained, with what is known about it: what a run gives and an export takes."""

from dataclasses import dataclass

from slash_infer.bundle import Ancestor
from slash_train.config import Preset
from slash_train.model import SampleRNN


@dataclass(frozen=True)
class TrainedModel:
    """A model and where it comes from."""

    model: SampleRNN
    preset: Preset
    """The configuration it was made from."""
    preset_name: str
    """The preset that the run was started from."""
    step: int
    """Optimiser steps behind the weights."""
    valid_bits: float | None
    """Bits per sample on the validation split, if it was scored."""
    ancestors: tuple[Ancestor, ...] = ()
    """The checkpoints that training began with, the nearest first."""
