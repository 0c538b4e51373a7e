"""Keeps clips to what recordings do, at the end of every block of 64 ms: candidates, and new beginnings.

A model that hears itself drifts away from what it has learned. Noise that it has drawn is followed by more noise.
That surprises it more than recordings do, and repeats less from period to period: so each block is drawn several
times, and the first candidate goes on that surprises no more than recordings do and repeats as much, or else the
one that comes nearest. And there are states that it does not leave, as it has never heard one last: a silence, a
tone, a noise. A clip begins anew, as at its first sample, when it has been silent for as long as the longest pause
in training, or is stuck: within a second, its surprise has varied less than that of recordings does.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slash_infer.audio.ear.harmonicity import block_harmonicities
from slash_infer.bundle import Manifest, Recorded
from slash_infer.runtimes.generated import Generated

BLOCK_SECONDS = 0.064  # rounded to whole steps of the top tier
MEMORY_SECONDS = 0.25
VARIATION_SECONDS = 1.0
HARMONICITY_BITS = 10.0
"""What a harmonicity too low by 1 counts, in bits/sample of surprise. In a quarter of a second, recorded solos
deviate from their means by 0.08 and by 0.5 bits. 4 and 30 did as well."""
NONE = -1.0
"""In place of the surprise of a block before the clip's beginning."""


def allowed(recorded: Recorded | None, candidates: int, restart: bool) -> tuple[int, bool]:
    """Return the candidates, and whether clips begin anew: without recordings to keep to, one, and they do not."""
    return (1, False) if recorded is None else (candidates, restart)


class Steering:
    """Decides how clips go on.

    Args:
        recorded: what recordings do.
        clips: how many.
        candidates: of each clip's block, K; 1 for no choice.
        restart: whether clips begin anew where they are silent or stuck.
        manifest: the bundle's.
    """

    def __init__(self, recorded: Recorded, clips: int, candidates: int, restart: bool, manifest: Manifest) -> None:
        self._recorded, self._candidates, self._restart = recorded, candidates, restart
        self._codec, self._rate = manifest.codec, manifest.sample_rate
        self.block = block_length(self._rate, manifest.top_hop)
        """Samples of every clip between two decisions."""
        self._weight = min(1.0, self.block / (MEMORY_SECONDS * self._rate))
        self._longest = max(1, round(recorded.pause * self._rate / self.block))
        self._silence = 10 ** (recorded.silence / 10)
        self.surprise: npt.NDArray[np.float64] = np.full(clips, recorded.surprise)
        """Mean of about the last quarter of a second, [clips], in bits/sample."""
        self.harmonicity: npt.NDArray[np.float64] = np.full(clips, recorded.harmonicity)
        """The same of what was not silent, [clips], 0 to 1; as at first where there is no choice."""
        self.recent: npt.NDArray[np.float64] = np.full((clips, blocks_compared(self.block, self._rate)), NONE)
        """The surprise of the last blocks since the clip's beginning, [clips, blocks], in bits/sample."""
        self.silent: npt.NDArray[np.int64] = np.zeros(clips, np.int64)
        """Blocks since the last one that was not silent, [clips]."""

    @classmethod
    def of(cls, manifest: Manifest, clips: int, candidates: int, restart: bool) -> Self | None:
        """Return what decides how a bundle's clips go on, or None where there is nothing to decide."""
        if manifest.recorded is None or not (candidates > 1 or restart):
            return None
        return cls(manifest.recorded, clips, candidates, restart, manifest)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what decisions depend on, to be saved."""
        return {
            "surprise": self.surprise,
            "harmonicity": self.harmonicity,
            "recent": self.recent,
            "silent": self.silent,
        }

    def take(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what was saved."""
        self.surprise, self.harmonicity = arrays["surprise"], arrays["harmonicity"]
        self.recent, self.silent = arrays["recent"], arrays["silent"]

    def choose(self, drawn: Generated) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Decide after a block.

        Args:
            drawn: the block's candidates, [clips * K, block], those of a clip one after another.

        Returns:
            the row of each clip's chosen candidate, [clips]; and whether the clip begins anew after it, [clips].
        """
        recorded, shape = self._recorded, (-1, self._candidates)
        samples = self._codec.decode(drawn.codes).astype(np.float64)
        is_silent = (np.square(samples).mean(axis=1) < self._silence).reshape(shape)
        bits = drawn.nll.mean(axis=1, dtype=np.float64).reshape(shape) / math.log(2)
        surprise = self._remember(self.surprise, bits)
        harmonicity = np.repeat(self.harmonicity[:, np.newaxis], self._candidates, axis=1)
        if self._candidates > 1:
            heard = self._remember(self.harmonicity, block_harmonicities(samples, self._rate).reshape(shape))
            harmonicity = np.where(is_silent, harmonicity, heard)
        too_much = np.maximum(surprise - recorded.surprise, 0.0)
        too_little = np.maximum(recorded.harmonicity - harmonicity, 0.0)
        which = (too_much + HARMONICITY_BITS * too_little).argmin(axis=1)  # the first of equals
        clips = np.arange(len(which))
        chosen = clips, which
        self.surprise, self.harmonicity = surprise[chosen], harmonicity[chosen]
        self.silent = np.where(is_silent[chosen], self.silent + 1, 0)
        self.recent = np.concatenate([self.recent[:, 1:], bits[chosen][:, np.newaxis]], axis=1)
        stuck = (self.recent != NONE).all(axis=1) & (self.recent.std(axis=1) < recorded.variation)
        anew = self._restart & (stuck | (self.silent >= self._longest))
        self.surprise[anew], self.harmonicity[anew] = recorded.surprise, recorded.harmonicity
        self.recent[anew], self.silent[anew] = NONE, 0
        return clips * self._candidates + which, anew

    def _remember(self, mean: npt.NDArray[np.float64], block: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the means of each clip, [clips], with each candidate's next block, [clips, K]."""
        return np.asarray(mean[:, np.newaxis] + (block - mean[:, np.newaxis]) * self._weight)


def block_length(rate: int, top_hop: int) -> int:
    """Return the samples of a block, whole steps of the top tier."""
    return max(1, round(BLOCK_SECONDS * rate / top_hop)) * top_hop


def blocks_compared(block: int, rate: int) -> int:
    """Return of how many blocks the surprise is compared, at least two: a second of them."""
    return max(2, round(VARIATION_SECONDS * rate / block))
