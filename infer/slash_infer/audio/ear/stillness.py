"""Stuck: stretches of five seconds that are silent, or in which nothing changes."""

import numpy as np

from slash_infer.audio.ear.bands import BANDS, FLOOR_DB, FRAMES_PER_SECOND
from slash_infer.audio.ear.source import Float64

STRETCH = round(5 * FRAMES_PER_SECOND)
"""Frames of a stretch: 156."""
MOMENTS = 20
"""In a stretch, a quarter of a second each."""
RANGE_DB = 50.0
"""Changes further below the stretch's loudest band are not heard."""
STILL_DB = 1.5
SILENT_BAND_DB = -25.0
"""A frame without a band above this is silent."""
SILENT_SHARE = 0.6
"""Of its frames: a stretch with more of them is silent."""


class Stillness:
    """Finds the stuck stretches of one source.

    Stretches follow one another without overlap. What is left at the end counts only if there is no other stretch.
    """

    def __init__(self) -> None:
        self._rest: Float64 = np.zeros((0, BANDS))
        self._stuck: list[bool] = []
        self._changes: list[float] = []

    def add(self, levels: Float64) -> None:
        """Take the levels of the bands in the next frames, [n, BANDS]."""
        pending = np.concatenate([self._rest, levels])
        for first in range(0, len(pending) - STRETCH + 1, STRETCH):
            self._take(pending[first : first + STRETCH])
        self._rest = pending[len(pending) // STRETCH * STRETCH :]

    def finish(self) -> tuple[float, float]:
        """Return the share of stretches that are stuck, and the stretches' median change in dB, when all is added."""
        if not self._stuck:
            self._take(self._rest)
        return float(np.mean(self._stuck)), float(np.median(self._changes))

    def _take(self, levels: Float64) -> None:
        silent = float((levels.max(axis=1) <= SILENT_BAND_DB).mean()) > SILENT_SHARE
        change = median_change(levels)
        self._stuck.append(silent or change < STILL_DB)
        self._changes.append(change)


def median_change(levels: Float64) -> float:
    """Return how much the bands change from one moment of a stretch to the next, in dB.

    The levels of each moment's frames are averaged in dB and clipped RANGE_DB under the loudest band of any moment.
    The change is the mean over the bands of the absolute difference, and the median over the moments.

    Args:
        levels: of the bands in the stretch's frames, [n, BANDS].
    """
    parts = np.array_split(levels, min(MOMENTS, len(levels)))
    moments = np.stack([part.mean(axis=0) for part in parts])
    heard = np.maximum(moments, max(moments.max() - RANGE_DB, FLOOR_DB))
    changes = np.abs(np.diff(heard, axis=0)).mean(axis=1)
    return float(np.median(changes)) if len(changes) else 0.0
