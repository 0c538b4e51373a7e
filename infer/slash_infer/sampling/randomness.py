"""Randomness as data: the uniforms that drive sampling are a pure function of (seed, clip, time).

`uniform[clip, t]` comes from the t-th 64-bit word of the counter-based generator Philox4x64-10 (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011), keyed by (seed, clip). So a clip does not depend on its batch,
on the lengths of blocks, or on the engine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import as_integer
from slash_infer.runtimes.uniform_block import UniformBlock

UNIFORM_BITS = 22  # with these and the half step, u * total < total and u > 2**-24 hold in float32
MAX_KEY = 2**64 - 1
WORDS_PER_COUNTER = 4  # of Philox4x64
WORDS_APART = 2**64  # of candidates


class Uniforms:
    """An endless stream of uniforms for each clip, read in order.

    Args:
        seed: first key word, 0 .. 2**64 - 1.
        clips: second key word of each stream: the clip indices.
        start: index of the first uniform to read.
        candidates: streams for each clip, K, in rows one after another. The first is the clip's own; the others begin
            2**64 words further on each.

    Raises:
        UserError: the seed or a clip index does not fit 64 bits.
    """

    def __init__(self, seed: int, clips: Sequence[int], start: int = 0, candidates: int = 1) -> None:
        check_keys(seed, *clips)
        self._seed, self._position = seed, start
        self._clips = np.repeat(np.array(clips, np.uint64), candidates)
        self._candidates = np.tile(np.arange(candidates, dtype=np.uint64), len(clips))
        self._streams: list[tuple[np.random.Philox | None, int]] = [(None, 0)] * len(self._clips)

    def block(self, count: int) -> UniformBlock:
        """Return the next `count` uniforms of every clip, which are made when they are needed."""
        rows = np.arange(len(self._clips))
        block = UniformBlock(self._seed, self._clips, self._candidates, self._position, count, self._make, rows)
        self._position += count
        return block

    def next(self, count: int) -> npt.NDArray[np.float32]:
        """Return the next `count` uniforms of every clip, float32 [clips * K, count], each inside (0, 1).

        A uniform is (k + 1/2) / 2**22 for the word's top 22 bits k: exact in float32 and never 0 or 1. So inverse-CDF
        sampling never picks a first or last code whose probability is below half a step of this grid.
        """
        return np.asarray(self.block(count))

    def _make(self, rows: npt.NDArray[np.intp], start: int, count: int) -> npt.NDArray[np.float32]:
        distinct, where = np.unique(rows, return_inverse=True)
        uniforms = np.empty((len(distinct), count), np.float32)
        for to, row in zip(uniforms, distinct, strict=True):
            to[:] = self._stream(row, start, count).random_raw(count) >> np.uint64(64 - UNIFORM_BITS)
        uniforms += np.float32(0.5)
        uniforms *= np.float32(2**-UNIFORM_BITS)
        return uniforms if np.array_equal(distinct, rows) else uniforms[where]

    def _stream(self, row: int, start: int, count: int) -> np.random.Philox:
        """Return a row's generator at a word, of which the next `count` will be read."""
        stream, position = self._streams[row]
        if stream is None or position != start:
            stream = np.random.Philox(key=np.array([self._seed, self._clips[row]], np.uint64))
            stream.advance((start + int(self._candidates[row]) * WORDS_APART) // WORDS_PER_COUNTER)
            stream.random_raw(start % WORDS_PER_COUNTER)
        self._streams[row] = stream, start + count
        return stream


def check_keys(seed: int, *clips: int) -> None:
    """Check that a seed and clip numbers can key a stream.

    Raises:
        UserError: one is no integer, or does not fit 64 bits.
    """
    for what, key in (("seed", seed), *(("clip", clip) for clip in clips)):
        as_integer(what, key, 0, MAX_KEY)
