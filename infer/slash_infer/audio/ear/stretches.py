"""Stretches of recordings, as long as clips usually are and spread evenly over all of them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from slash_infer.audio.ear.segments import SEGMENT_SECONDS
from slash_infer.audio.ear.source import Source

STRETCH_SECONDS = 10.0


def spread_stretches(
    recordings: Sequence[Source], seconds: Sequence[float], most: int
) -> Iterator[tuple[int, float, Source]]:
    """Yield stretches of STRETCH_SECONDS, or half as long at the end of a recording; of a short one, all of it.

    Args:
        recordings: which are read once, one after another.
        seconds: length of each. Those without a segment are left out.
        most: stretches.

    Returns:
        the number of the recording, where in it the stretch begins, in seconds, and the stretch, in memory.
    """
    places = [
        (i, start)
        for i, length in enumerate(seconds)
        for start in np.arange(0, length, STRETCH_SECONDS).tolist()
        if length - start >= (STRETCH_SECONDS / 2 if start else SEGMENT_SECONDS)
    ]
    chosen = min(most, len(places))
    spread = (places[len(places) * k // chosen] for k in range(chosen))
    for i, group in groupby(spread, itemgetter(0)):
        starts = [start for _, start in group]
        for start, stretch in zip(starts, recordings[i].stretches(starts, STRETCH_SECONDS), strict=True):
            yield i, start, stretch
