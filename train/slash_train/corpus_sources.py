"""Recordings of a corpus, for the ear."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from slash_infer.audio.ear.source import Float64, Source, resampled
from slash_infer.codec import PCM16_SCALE
from slash_train.choices import Split
from slash_train.corpus import Corpus, Region

BLOCK = 1 << 18  # samples


def sources(corpus: Corpus, split: Split) -> list[Source]:
    """Return the recordings of a split, or the parts of them that belong to it. They have the corpus's gain."""
    return [
        Source(recording.name, partial(_blocks, corpus, region))
        for recording in corpus.manifest.recordings
        for region in recording.regions
        if region.split == split
    ]


def _blocks(corpus: Corpus, region: Region) -> Iterator[Float64]:
    stop = region.start + region.length
    pcm = (corpus.pcm[first : min(first + BLOCK, stop)] for first in range(region.start, stop, BLOCK))
    return resampled((np.asarray(block, np.float64) / PCM16_SCALE for block in pcm), corpus.sample_rate)
