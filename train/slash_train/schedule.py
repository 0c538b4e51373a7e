"""The learning-rate schedule: a function of the step alone, which makes resuming trivial."""

import math

from slash_train.config import TrainingConfig

FLOOR = 0.05  # the cosine ends at this fraction of the highest learning rate


def learning_rate(recipe: TrainingConfig, step: int) -> float:
    """Return the learning rate of step `step`, counted from 0."""
    rate = recipe.learning_rate
    if step < recipe.warmup_steps:
        rate *= (step + 1) / recipe.warmup_steps
    if recipe.schedule == "cosine":
        done = min(1.0, step / recipe.steps)
        rate *= FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2
    return rate
