"""A set of recordings as a Gaussian, and the distance of other audio from it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from slash_infer.audio.ear.moments import Moments, frechet_distance
from slash_infer.audio.ear.source import Float64

COMPONENTS = 24
LEAST_DB = 1.0
"""Smallest scale of a number, about the change of level that is just heard: without it, bands at the floor in all
recordings would outweigh everything. Of real recordings none varies less."""


@dataclass(frozen=True)
class Reference:
    """How the segments of recordings are distributed.

    Each of the 120 numbers is standardised by the recordings' mean and standard deviation, and projected on the first
    principal components, in which the recordings have mean 0.
    """

    mean: Float64
    """[NUMBERS]."""
    scale: Float64
    """Standard deviation of each number, at least LEAST_DB, [NUMBERS]."""
    components: Float64
    """Of length 1, by falling variance, [K, NUMBERS]; K is COMPONENTS, or one less than there are segments."""
    variances: Float64
    """Of the recordings along the components, [K]."""

    @classmethod
    def of(cls, segments: Moments) -> Self:
        """Return the reference that a set of recordings makes.

        Raises:
            ValueError: it has fewer than two segments.
        """
        if segments.count < 2:
            raise ValueError("a reference takes two segments or more")
        deviations = np.sqrt(np.diag(segments.covariance))
        scale = np.maximum(deviations, LEAST_DB)
        variances, vectors = np.linalg.eigh(segments.covariance / np.outer(scale, scale))
        kept = slice(None, -min(COMPONENTS, segments.count - 1) - 1, -1)
        return cls(segments.mean, scale, vectors.T[kept], np.maximum(variances[kept], 0.0))

    def distance(self, segments: Moments) -> float:
        """Return the Fréchet distance of other audio from the recordings.

        It has a bias that grows the fewer segments there are: compare sets of equal length.

        Raises:
            ValueError: there are no segments.
        """
        if not segments.count:
            raise ValueError("a distance takes a segment or more")
        other = segments.mapped(self.mean, (self.components / self.scale).T)
        return frechet_distance(np.zeros(len(self.variances)), np.diag(self.variances), other.mean, other.covariance)
