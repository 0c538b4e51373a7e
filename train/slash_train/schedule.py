"""The learning-rate schedule: warm-up, then a decay that needs no end, times a cool-down towards the end.

It is a function of the step and of how far the training is, not of state, which makes resuming trivial.
"""

import math

from slash_train.config import TrainingConfig


def rate_factor(recipe: TrainingConfig, step: int, done: float) -> float:
    """Return what the learning rates are multiplied by, 0 to 1.

    Args:
        recipe: the warm-up, the decay and the cool-down.
        step: the step, counted from 0.
        done: the fraction of the training that is done before the step.
    """
    warm_up = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    decay = math.sqrt(min(1.0, recipe.decay_after / (step + 1))) if recipe.decay_after else 1.0
    cooldown = min(1.0, max(0.0, 1 - done) / recipe.cooldown) if recipe.cooldown else 1.0
    return warm_up * decay * cooldown
