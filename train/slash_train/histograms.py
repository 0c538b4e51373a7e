"""Two baselines for a score: how often each code occurs in the training split, and how often after the one before.

A model that scores worse than the second has learned nothing but loudness.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_infer.codec import Codec
from slash_train.choices import Split
from slash_train.corpus import Corpus

SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Added to every count; the best of these is taken, which favours the baselines."""
MOST_LEVELS = 2048
"""Of a codec whose pairs of codes are counted."""
BLOCK = 1 << 20  # samples at a time

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Baselines:
    """Bits per sample of the two histograms on one split."""

    order_0: float
    order_1: float


def baselines(corpus: Corpus, codec: Codec, *splits: Split) -> list[Baselines]:
    """Score splits by the histograms of the training split.

    Args:
        corpus: the corpus.
        codec: of the codes, with at most MOST_LEVELS of them.
        splits: which to score. The smoothing is what suits all of them together best.
    """
    learned = _count(corpus, codec, "train")
    found = [_count(corpus, codec, split) for split in splits]
    together = sum(found[1:], start=found[0])
    singles, pairs = _best(learned.sum(axis=0), together.sum(axis=0)), _best(learned, together)
    return [Baselines(_mean(each.sum(axis=0), singles), _mean(each, pairs)) for each in found]


def _count(corpus: Corpus, codec: Codec, split: Split) -> Counts:
    """Return how often each code follows each other one within a recording, [before, code]."""
    counts = np.zeros(codec.levels * codec.levels, np.int64)
    for codes in _blocks(corpus, codec, split):
        counts += np.bincount(codes[:-1].astype(np.int64) * codec.levels + codes[1:], minlength=len(counts))
    return counts.reshape(codec.levels, codec.levels)


def _blocks(corpus: Corpus, codec: Codec, split: Split) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the codes of each region of a split in blocks, each beginning with the last code of the one before."""
    for region in corpus.regions(split):
        for begin in range(region.start, region.start + region.length - 1, BLOCK):
            end = min(begin + BLOCK + 1, region.start + region.length)
            yield codec.encode_pcm16(np.asarray(corpus.pcm[begin:end]))


def _best(learned: Counts, scored: Counts) -> npt.NDArray[np.float64]:
    return min((_costs(learned, smoothing) for smoothing in SMOOTHING), key=lambda costs: _mean(scored, costs))


def _costs(counts: Counts, smoothing: float) -> npt.NDArray[np.float64]:
    """Return the cost in bits of each code, of the shape of `counts`, whose last axis is the code."""
    smoothed = counts + smoothing
    return np.asarray(-np.log2(smoothed / smoothed.sum(axis=-1, keepdims=True)))


def _mean(counts: Counts, costs: npt.NDArray[np.float64]) -> float:
    return float((counts * costs).sum() / counts.sum())
