"""The learning rate as a function of the step alone, so that a resumed run follows the same curve."""

import math

from slash_train.config import TrainingConfig

FLOOR = 0.05  # of the highest learning rate, at the end of the cosine


def learning_rate(recipe: TrainingConfig, step: int) -> float:
    """Return the learning rate of step `step`, counted from 0."""
    rate = recipe.learning_rate
    if step < recipe.warmup_steps:
        rate *= (step + 1) / recipe.warmup_steps
    if recipe.schedule == "cosine":
        done = min(1.0, step / recipe.steps)
        rate *= FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2
    return rate
