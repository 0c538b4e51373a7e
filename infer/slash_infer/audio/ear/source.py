"""What is listened to: mono audio at one rate, which can be read more than once, block by block."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from slash_infer.audio.clip_blocks import open_clip

Float64 = npt.NDArray[np.float64]

RATE = 16_000
"""Hz. Everything is measured at this rate, whatever it was recorded or generated at."""


@dataclass(frozen=True)
class Source:
    """A recording or a clip."""

    name: str
    """For messages, and to say where a copy comes from."""
    blocks: Callable[[], Iterator[Float64]]
    """Reads it from its beginning: mono blocks, [n], at RATE; 1 is full scale."""

    def stretches(self, starts: Iterable[float], seconds: float) -> Iterator["Source"]:
        """Yield stretches that begin at `starts`, in seconds and in order, in memory one at a time.

        They do not overlap. Each is as long as `seconds`, or as what is there. The source is read once.
        """
        blocks, there, rest = self.blocks(), 0, np.zeros(0)
        for start in starts:
            first, stop = round(start * RATE), round((start + seconds) * RATE)
            parts = [rest[max(0, first - there) :]]
            there += len(rest)
            while there < stop and (block := next(blocks, None)) is not None:
                parts.append(block[max(0, first - there) :])
                there += len(block)
            samples = np.concatenate(parts)
            rest = samples[stop - first :]
            there -= len(rest)
            yield source_of(self.name, samples[: stop - first])


def source_of(name: str, samples: npt.NDArray[np.floating], sample_rate: int = RATE) -> Source:
    """Return samples that are in memory, [T], as a source."""
    return Source(name, lambda: resampled(iter([np.asarray(samples, np.float64)]), sample_rate))


def source_of_clip(path: Path, last_seconds: float = math.inf) -> Source:
    """Return a clip on disk as a source: its end, if it is longer than `last_seconds`. Reading raises `UserError`."""

    def blocks() -> Iterator[Float64]:
        with open_clip(path, last_seconds) as clip:
            yield from resampled(clip, clip.rate)

    return Source(str(path), blocks)


def resampled(blocks: Iterable[npt.NDArray[np.floating]], sample_rate: int) -> Iterator[Float64]:
    """Bring mono blocks, [n], from `sample_rate` Hz to RATE (soxr, high quality)."""
    if sample_rate == RATE:
        yield from (np.asarray(block, np.float64) for block in blocks)
        return
    resampler = soxr.ResampleStream(sample_rate, RATE, 1, dtype="float64")
    for block in blocks:
        yield resampler.resample_chunk(np.asarray(block, np.float64))
    yield resampler.resample_chunk(np.zeros(0), last=True)


def rebatched(blocks: Iterable[Float64], length: int, overlap: int) -> Iterator[Float64]:
    """Yield samples in batches of one length, each of which begins with the last `overlap` of the one before.

    What is computed from a batch then does not depend on how the samples were read, to the last bit. The last batch
    is shorter; if there is nothing, there is one batch, and it is empty.
    """
    rest, yielded = np.zeros(0), False
    for block in chain(blocks, [None]):
        rest = rest if block is None else np.concatenate([rest, block])
        while len(rest) >= length:
            yield rest[:length]
            rest, yielded = rest[length - overlap :], True
    if not yielded or len(rest) > overlap:
        yield rest
