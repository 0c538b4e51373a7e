"""What a run reports as it goes, one line of metrics.jsonl each."""

from pydantic import BaseModel, ConfigDict
from torch.utils.tensorboard import SummaryWriter


class Metrics(BaseModel):
    """Measures after one step, averaged since the line before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    """Optimiser steps done."""
    samples: int
    """Audio samples trained on."""
    seconds: float
    """Wall-clock time of the run, resumed parts added up."""
    train_bits: float
    """Bits per sample on the training windows, as they were before each update."""
    valid_bits: float | None = None
    """Bits per sample on the validation split, where it was scored."""
    samples_per_second: float
    """Trainer speed, validation and saving left out."""
    gradient_norm: float
    """Before clipping, of the last step."""
    learning_rate: float
    """Of the last step."""


def write_scalars(board: SummaryWriter, metrics: Metrics) -> None:
    """Write metrics to TensorBoard."""
    scalars = {
        "bits_per_sample/train": metrics.train_bits,
        "bits_per_sample/valid": metrics.valid_bits,
        "speed/samples_per_second": metrics.samples_per_second,
        "optimiser/gradient_norm": metrics.gradient_norm,
        "optimiser/learning_rate": metrics.learning_rate,
    }
    for name, value in scalars.items():
        if value is not None:
            board.add_scalar(name, value, metrics.step)
