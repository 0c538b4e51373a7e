"""What was heard in a set of recordings or clips, together."""

from collections.abc import Iterable

import numpy as np

from slash_infer.audio.ear.hearing import Heard, hear
from slash_infer.audio.ear.moments import Moments
from slash_infer.audio.ear.segments import NUMBERS
from slash_infer.audio.ear.source import Source

MEASURES = ("harmonicity", "stuck", "onsets", "centroid", "level_db")
"""Those of `Heard` of which a set has the mean."""


class HeardSet:
    """The moments of all segments, and the means of the measures. Every member counts alike, however long it is."""

    def __init__(self) -> None:
        self.count = 0
        """Members."""
        self.seconds = 0.0
        """Of all members together."""
        self.segments = Moments.of(np.zeros((0, NUMBERS)))
        self._sums = dict.fromkeys(MEASURES, 0.0)

    def add(self, heard: Heard) -> None:
        """Add a member."""
        self.count += 1
        self.seconds += heard.seconds
        self.segments += heard.segments
        for name in MEASURES:
            self._sums[name] += getattr(heard, name)

    def __add__(self, other: "HeardSet") -> "HeardSet":
        """Return the members of both."""
        both = HeardSet()
        both.count, both.seconds = self.count + other.count, self.seconds + other.seconds
        both.segments = self.segments + other.segments
        both._sums = {name: value + other._sums[name] for name, value in self._sums.items()}
        return both

    def means(self) -> dict[str, float]:
        """Return the mean of each of MEASURES over the members.

        Raises:
            ValueError: there are none.
        """
        if not self.count:
            raise ValueError("an empty set has no means")
        return {name: value / self.count for name, value in self._sums.items()}


def hear_all(sources: Iterable[Source]) -> HeardSet:
    """Listen to all members of a set, one after another."""
    heard = HeardSet()
    for source in sources:
        heard.add(hear(source))
    return heard
