"""Segments of a second, each summed up in 120 numbers."""

import numpy as np

from slash_infer.audio.ear.bands import BANDS, FRAME, HOP
from slash_infer.audio.ear.source import RATE, Float64

SEGMENT = 31
"""Frames."""
SEGMENT_SECONDS = ((SEGMENT - 1) * HOP + FRAME) / RATE
"""1.024: what is shorter has no segment."""
STEP = 15
"""Frames from one segment to the next."""
NUMBERS = 3 * BANDS


class Segments:
    """Cuts the frames of one source into segments."""

    def __init__(self) -> None:
        self._rest: Float64 = np.zeros((0, BANDS))

    def add(self, levels: Float64) -> Float64:
        """Take the levels of the bands in the next frames, [n, BANDS].

        Returns:
            for each segment that is now complete each band's mean, standard deviation, and mean absolute change from
            frame to frame, in dB, [segments, NUMBERS].
        """
        pending = np.concatenate([self._rest, levels])
        count = max(0, (len(pending) - SEGMENT) // STEP + 1)
        self._rest = pending[count * STEP :]
        if not count:
            return np.zeros((0, NUMBERS))
        frames = np.lib.stride_tricks.sliding_window_view(pending, SEGMENT, axis=0)[::STEP]  # [count, BANDS, SEGMENT]
        changes = np.abs(np.diff(frames, axis=2)).mean(axis=2)
        return np.concatenate([frames.mean(axis=2), frames.std(axis=2), changes], axis=1)
