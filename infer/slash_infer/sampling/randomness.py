"""Randomness as data: the uniforms that drive sampling are a pure function of (seed, clip, time).

`uniform[clip, t]` comes from the t-th 64-bit word of the counter-based generator Philox4x64-10 (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011), keyed by (seed, clip). So a clip does not depend on its batch,
on the lengths of blocks, or on the engine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import as_integer

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
        self._streams = []
        for clip in clips:
            for candidate in range(candidates):
                stream = np.random.Philox(key=np.array([seed, clip], dtype=np.uint64))
                stream.advance((start + candidate * WORDS_APART) // WORDS_PER_COUNTER)
                stream.random_raw(start % WORDS_PER_COUNTER)
                self._streams.append(stream)

    def next(self, count: int) -> npt.NDArray[np.float32]:
        """Return the next `count` uniforms of every clip, float32 [clips * K, count], each inside (0, 1).

        A uniform is (k + 1/2) / 2**22 for the word's top 22 bits k: exact in float32 and never 0 or 1. So inverse-CDF
        sampling never picks a first or last code whose probability is below half a step of this grid.
        """
        words = np.stack([stream.random_raw(count) for stream in self._streams])
        top_bits = words >> np.uint64(64 - UNIFORM_BITS)
        return np.asarray((top_bits + 0.5) / 2**UNIFORM_BITS, np.float32)


def check_keys(seed: int, *clips: int) -> None:
    """Check that a seed and clip numbers can key a stream.

    Raises:
        UserError: one is no integer, or does not fit 64 bits.
    """
    for what, key in (("seed", seed), *(("clip", clip) for clip in clips)):
        as_integer(what, key, 0, MAX_KEY)
