"""The learning-rate schedule: warm-up by steps, then constant, then a cool-down towards the end of the training.

It is a function of how far the training is, not of state, which makes resuming trivial.
"""

from slash_train.config import TrainingConfig


def rate_factor(recipe: TrainingConfig, step: int, done: float) -> float:
    """Return what the learning rates are multiplied by, 0 to 1.

    Args:
        recipe: the warm-up and the cool-down.
        step: the step, counted from 0.
        done: the fraction of the training that is done before the step.
    """
    warmth = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    left = max(0.0, 1 - done)
    return warmth * (min(1.0, left / recipe.cooldown) if recipe.cooldown else 1.0)
