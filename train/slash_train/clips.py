"""Cuts the recordings of a corpus into clips."""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from slash_train.choices import Split
from slash_train.corpus import Corpus
from slash_train.pauses import without_long_pauses

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Clip:
    """A part of one recording, without the middle of long pauses."""

    recording: str
    """Name of the recording."""
    parts: tuple[tuple[int, int], ...]
    """(start, stop) in samples of the corpus, to play one after another."""

    @property
    def length(self) -> int:
        """In samples."""
        return sum(stop - start for start, stop in self.parts)

    def read(self, pcm: Pcm) -> Pcm:
        """Return int16 [length].

        Args:
            pcm: that of the corpus.
        """
        parts = [pcm[start:stop] for start, stop in self.parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def cut_clips(corpus: Corpus, split: Split, clip_seconds: float, longest_pause: float = math.inf) -> list[Clip]:
    """Cut every region of a split into clips of equal length; one that is silent throughout has none.

    Args:
        corpus: the corpus.
        split: the split.
        clip_seconds: the most that a clip has.
        longest_pause: seconds. Longer pauses are shortened and silence at the end of a region is left out, as
            `without_long_pauses` does; if infinite, everything is left as it is.
    """
    longest = max(1, round(clip_seconds * corpus.sample_rate))
    clips = []
    for recording in corpus.manifest.recordings:
        for region in (region for region in recording.regions if region.split == split):
            parts = [(0, region.length)]
            if math.isfinite(longest_pause):
                pcm = corpus.pcm[region.start : region.start + region.length]
                parts = without_long_pauses(pcm, corpus.sample_rate, longest_pause)
            played = _Played(parts)
            if not played.length:
                continue
            pieces = -(-played.length // longest)
            edges = [played.length * i // pieces for i in range(pieces + 1)]
            clips += [Clip(recording.name, played.cut(a, b, region.start)) for a, b in pairwise(edges)]
    return clips


class _Played:
    """Parts of a region, played one after another.

    Args:
        parts: (start, stop) of each, in samples of the region.
    """

    def __init__(self, parts: list[tuple[int, int]]) -> None:
        self._parts = parts
        self._before = [0, *accumulate(stop - start for start, stop in parts)]
        """Samples played before each part, and in all."""
        self.length = self._before[-1]

    def cut(self, begin: int, end: int, shift: int) -> tuple[tuple[int, int], ...]:
        """Return the parts of samples `begin` to `end` of what is played, moved by `shift`."""
        first, last = bisect_right(self._before, begin) - 1, bisect_left(self._before, end)
        found = []
        for before, (start, stop) in zip(self._before[first:last], self._parts[first:last], strict=False):
            found.append((shift + start + max(begin - before, 0), shift + min(stop, start + end - before)))
        return tuple(found)
