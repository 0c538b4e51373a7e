"""When training stops, where it takes place, and what observes it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from slash_train.corpus import Corpus
from slash_train.event_file import EventFile
from slash_train.metrics import Metrics
from slash_train.trained_model import TrainedModel
from slash_train.workers import Workers


@dataclass(frozen=True)
class Limits:
    """When to stop: at `steps` steps of the whole run, or after `minutes` of this start or resumption."""

    steps: float = math.inf
    minutes: float = math.inf

    def done(self, step: int, seconds: float) -> float:
        """Return the fraction of the work that is done; 1 or more means stop."""
        return max(step / self.steps, seconds / (self.minutes * 60))


Report = Callable[[Metrics, float], None]
"""Called with the newest metrics, and the fraction of the work done."""

MakePreviews = Callable[[TrainedModel, Corpus, Path, EventFile], None]
"""Called at each checkpoint with the model, what it learns from, the folder to make, and TensorBoard."""


@dataclass(frozen=True)
class TrainContext:
    """Where a run trains, and what observes it."""

    device: torch.device
    workers: Workers = Workers()  # noqa: RUF009  # a single worker is stateless
    previews: MakePreviews | None = None
    """Makes clips at checkpoints; None for no clips."""
    report: Report = lambda *_: None
    heard: Callable[[Path], None] = lambda _: None
    """Told the folder of a checkpoint's clips, when they are made."""
    warn: Callable[[str], None] = lambda _: None
    """Told, in one line, what goes wrong that training goes on without."""
    compile_model: bool = False
    """Whether to compile the sample tier, the part that consists of many small operations."""
