"""What a run reports as it goes, one line of metrics.jsonl each."""

from pydantic import BaseModel, ConfigDict


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
    """Training speed, validation and saving left out."""
    gradient_norm: float
    """Before clipping, of the last step."""
