"""Gaussians of sets: moments that are gathered part by part, and the Fréchet distance."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from slash_infer.audio.ear.source import Float64


@dataclass(frozen=True)
class Moments:
    """The count, mean and scatter of some vectors: all that a Gaussian needs, however many they were."""

    count: int
    mean: Float64
    """[D]."""
    scatter: Float64
    """Sum of the outer products of the deviations from the mean, [D, D]."""

    @classmethod
    def of(cls, vectors: Float64) -> Self:
        """Return the moments of vectors, [n, D]."""
        if not len(vectors):
            return cls(0, np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1], vectors.shape[1])))
        mean = vectors.mean(axis=0)
        return cls(len(vectors), mean, (vectors - mean).T @ (vectors - mean))

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        if not count:
            return self
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Float64:
        """The unbiased covariance, [D, D]; zero for a single vector."""
        return self.scatter / max(1, self.count - 1)

    def mapped(self, offset: Float64, matrix: Float64) -> "Moments":
        """Return the moments of (vector - offset) @ matrix, with matrix [D, K]."""
        return Moments(self.count, (self.mean - offset) @ matrix, matrix.T @ self.scatter @ matrix)


def frechet_distance(mean: Float64, covariance: Float64, other_mean: Float64, other_covariance: Float64) -> float:
    """Return the Fréchet distance of two Gaussians, squared as is usual (Dowson & Landau 1982).

    |m - n|^2 + tr(C + D - 2 (C^1/2 D C^1/2)^1/2), with means [K] and covariances [K, K].
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    common = np.linalg.eigvalsh(root @ other_covariance @ root)
    between = float(((mean - other_mean) ** 2).sum())
    traces = float(np.trace(covariance) + np.trace(other_covariance))
    return max(0.0, between + traces - 2 * float(np.sqrt(np.maximum(common, 0)).sum()))
