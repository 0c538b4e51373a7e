"""Keeps clips to what recordings do, at the end of every block of 64 ms: candidates, and new beginnings.

A model that hears itself drifts away from what it has learned. Noise that it has drawn is followed by more noise, and
surprises it more than recordings do: so each block is drawn several times, and the first candidate that surprises the
model no more than recordings do goes on, or else the one that does so least. And from a silence, of which it has
heard few, it may not find its way: a clip that has been silent for as long as no recording was in training begins
anew, as at its first sample.
"""

import math

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Manifest, Recorded
from slash_infer.runtimes.generated import Generated

BLOCK_SECONDS = 0.064  # rounded to whole steps of the top tier
MEMORY_SECONDS = 0.25


def allowed(recorded: Recorded | None, candidates: int, restart: bool) -> tuple[int, bool]:
    """Return the candidates, and whether clips begin anew: without recordings to keep to, one, and they do not."""
    return (1, False) if recorded is None else (candidates, restart)


class Steering:
    """Decides how clips go on.

    Args:
        recorded: what recordings do.
        clips: how many.
        candidates: of each clip's block, K; 1 for no choice.
        restart: whether clips begin anew after a silence.
        manifest: the bundle's.
    """

    def __init__(self, recorded: Recorded, clips: int, candidates: int, restart: bool, manifest: Manifest) -> None:
        self._recorded, self._candidates, self._restart = recorded, candidates, restart
        self._codec, rate = manifest.codec, manifest.sample_rate
        self.block = max(1, round(BLOCK_SECONDS * rate / manifest.top_hop)) * manifest.top_hop
        """Samples of every clip between two decisions."""
        self._weight = min(1.0, self.block / (MEMORY_SECONDS * rate))
        self._longest = max(1, round(recorded.pause * rate / self.block))
        self._silence = 10 ** (recorded.silence / 10)
        self.surprise: npt.NDArray[np.float64] = np.zeros(clips)
        """Mean of about the last quarter of a second, [clips], in bits/sample."""
        self.silent: npt.NDArray[np.int64] = np.zeros(clips, np.int64)
        """Blocks since the last one that was not silent, [clips]."""

    def choose(self, drawn: Generated) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Decide after a block.

        Args:
            drawn: the block's candidates, [clips * K, block], those of a clip one after another.

        Returns:
            the row of each clip's chosen candidate, [clips]; and whether the clip begins anew after it, [clips].
        """
        bits = drawn.nll.mean(axis=1, dtype=np.float64).reshape(-1, self._candidates) / math.log(2)
        surprise = self.surprise[:, np.newaxis] + (bits - self.surprise[:, np.newaxis]) * self._weight
        excess = np.maximum(surprise - self._recorded.surprise, 0.0)
        which = excess.argmin(axis=1)  # the first of equals
        clips = np.arange(len(which))
        rows = clips * self._candidates + which
        power = np.square(self._codec.decode(drawn.codes[rows]), dtype=np.float64).mean(axis=1)
        self.surprise = surprise[clips, which]
        self.silent = np.where(power < self._silence, self.silent + 1, 0)
        anew = self._restart & (self.silent >= self._longest)
        self.silent[anew] = 0
        return rows, anew
