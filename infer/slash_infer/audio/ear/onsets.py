"""Onsets: how often something new begins."""

import numpy as np

from slash_infer.audio.ear.source import Float64

ONSET_DB = 3.0
"""Mean rise of the bands from one frame to the next that counts as an onset."""


class Onsets:
    """Counts the onsets of one source: peaks over ONSET_DB of the mean positive change of the bands.

    A peak is higher than the change before it and at least as high as the one after it. Before the first frame and
    after the last one nothing changes.
    """

    def __init__(self) -> None:
        self._levels: Float64 | None = None
        self._changes = np.zeros(1)
        self.count = 0
        """So far; a peak counts when the frame after it has come."""

    def add(self, levels: Float64) -> None:
        """Take the levels of the bands in the next frames, [n, BANDS]."""
        if self._levels is not None:
            levels = np.concatenate([self._levels, levels])
        self._look(np.maximum(np.diff(levels, axis=0), 0).mean(axis=1))
        self._levels = levels[-1:]

    def finish(self) -> int:
        """Return the number of onsets, all frames having been added."""
        self._look(np.zeros(1))
        return self.count

    def _look(self, changes: Float64) -> None:
        known = np.concatenate([self._changes, changes])
        before, here, after = known[:-2], known[1:-1], known[2:]
        self.count += int(np.count_nonzero((here > ONSET_DB) & (here > before) & (here >= after)))
        self._changes = known[-2:]
