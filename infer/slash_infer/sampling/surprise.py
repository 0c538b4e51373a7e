"""Holds down how surprising what is drawn is, by the temperature: Mirostat (Basu et al. 2021, arXiv 2007.14966).

A model that hears itself drifts away from what it has learned: a note that has taken in too much noise is followed by
noise. There it is surprised by its own draws more than by recordings. Where the mean surprise of the last quarter of
a second is over the target, the temperature is lower, until the clip is back among what the model knows.
"""

import math

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import as_number
from slash_infer.bundle import Manifest
from slash_infer.runtimes.generation_state import Float32

GAIN = 0.5  # of the temperature, for each bit/sample over the target
LEAST = 0.5  # of the temperature
BLOCK_SECONDS = 0.016  # between changes of the temperature, rounded to whole steps of the top tier
MEMORY_SECONDS = 0.25
MOST = 16.0  # bits/sample
PARTS = 1 << 20  # of a nat: whole numbers add up to the same in any order


def as_surprise(surprise: object) -> float | None:
    """Return the target that was passed, in bits/sample, or None for none.

    Raises:
        UserError: it is no number, or out of range.
    """
    return None if surprise is None else as_number("surprise", surprise, 0, MOST)


class SurpriseControl:
    """The factor of each clip's temperature.

    It changes at the same places of a clip whatever lengths are asked for.

    Args:
        target: in bits/sample; None to leave temperatures as they are.
        clips: how many.
        manifest: the bundle's.
    """

    def __init__(self, target: float | None, clips: int, manifest: Manifest) -> None:
        self.target = target
        block = max(1, round(BLOCK_SECONDS * manifest.sample_rate / manifest.top_hop)) * manifest.top_hop
        self._block, self._weight = block, min(1.0, block / (MEMORY_SECONDS * manifest.sample_rate))
        self.mean: npt.NDArray[np.float64] = np.full(clips, target or 0.0)
        """Of the last quarter of a second, [clips], in bits/sample."""
        self.sum: npt.NDArray[np.int64] = np.zeros(clips, np.int64)
        """Of the block so far, [clips], in nats / `PARTS`."""

    def room(self, generated: int) -> float:
        """Return how many samples there are to the next change, after so many of every clip."""
        return math.inf if self.target is None else self._block - generated % self._block

    @property
    def factors(self) -> Float32:
        """What to multiply the temperatures of the next samples by, [clips]."""
        if self.target is None:
            return np.ones(len(self.mean), np.float32)
        return np.clip(1 - GAIN * (self.mean - self.target), LEAST, 1).astype(np.float32)

    def hear(self, nll: Float32, generated: int) -> None:
        """Take in what was drawn.

        Args:
            nll: of the newest samples, [clips, T], in nats; no more than there was room for.
            generated: samples of every clip by now.
        """
        if self.target is None:
            return
        self.sum = self.sum + np.rint(nll.astype(np.float64) * PARTS).astype(np.int64).sum(axis=1)
        if generated % self._block == 0:
            drawn = self.sum / (PARTS * self._block * math.log(2))
            self.mean = self.mean + (drawn - self.mean) * self._weight
            self.sum = np.zeros_like(self.sum)
