"""Recordings held against other recordings: leaving out one after another or, of many, an eighth of them."""

import operator
from collections.abc import Iterable
from functools import reduce

import numpy as np

from slash_infer.audio.ear.heard_set import HeardSet
from slash_infer.audio.ear.hearing import hear
from slash_infer.audio.ear.reference import Reference
from slash_infer.audio.ear.source import Source

MOST_FOLDS = 8


class Folds:
    """Recordings, dealt out to folds in their order: the i-th goes to the fold i modulo the number of folds.

    Args:
        recordings: the recordings.
        count: how many they are.
    """

    def __init__(self, recordings: Iterable[Source], count: int) -> None:
        self._references: dict[int, Reference | None] = {}
        self._sets = [HeardSet() for _ in range(max(1, min(MOST_FOLDS, count)))]
        self.seconds: list[float] = []
        """Length of each recording."""
        for i, recording in enumerate(recordings):
            heard = hear(recording)
            self.seconds.append(heard.seconds)
            self._sets[i % len(self._sets)].add(heard)

    @property
    def all(self) -> HeardSet:
        """All recordings together."""
        return reduce(operator.add, self._sets)

    def fold_of(self, recording: int) -> int:
        """Return the number of a recording's fold."""
        return recording % len(self._sets)

    def reference_without(self, recording: int) -> Reference | None:
        """Return the reference that the folds make to which a recording does not belong.

        None if there are none, or they have less than two segments.
        """
        own = self.fold_of(recording)
        if own not in self._references:
            others = reduce(operator.add, (fold for i, fold in enumerate(self._sets) if i != own), HeardSet())
            self._references[own] = Reference.of(others.segments) if others.segments.count > 1 else None
        return self._references[own]

    def distance(self) -> float | None:
        """Return the distance of a fold from the others, mean over the folds; None if there is none to compare."""
        distances = [
            reference.distance(fold.segments)
            for i, fold in enumerate(self._sets)
            if fold.segments.count and (reference := self.reference_without(i)) is not None
        ]
        return float(np.mean(distances)) if distances else None
