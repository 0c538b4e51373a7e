"""The metrics that a run logs, one line of `metrics.jsonl` at a time."""

from pydantic import BaseModel, ConfigDict

from slash_train.event_file import EventFile
from slash_train.stored import Finite, Natural


class Metrics(BaseModel):
    """Metrics after one step; losses and speeds are averages since the previous line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Natural
    """Optimiser steps so far."""
    samples: Natural
    """Audio samples trained on so far."""
    seconds: Finite
    """Wall-clock time of the run so far, added up over resumptions."""
    train_bits: Finite
    """Bits per sample on the training windows, measured before each update."""
    valid_bits: Finite | None = None
    """Bits per sample on the validation split, if it was scored at this step."""
    samples_per_second: Finite
    """Training speed, without validation and saving."""
    gradient_norm: Finite
    """Global norm of the last step's gradient before clipping."""
    learning_rate: Finite
    """Learning rate of the last step."""


def write_scalars(board: EventFile, metrics: Metrics) -> None:
    """Write metrics to TensorBoard, at their step."""
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
