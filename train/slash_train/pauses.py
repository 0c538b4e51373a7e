"""Finds what of a recording to train on: pauses are shortened, and silence at the ends is left out.

A model that has heard silence go on falls silent for good in the first pause that it generates: after the silence at
the end of a recording, nothing follows.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

BLOCK_SECONDS = 0.02
SILENCE = 1e-4  # a block with less than this share of the recording's mean square is silent: 40 dB below
AT_ONCE = 1 << 12  # blocks looked at together


def without_long_pauses(pcm: npt.NDArray[np.int16], sample_rate: int, longest: float) -> list[tuple[int, int]]:
    """Return the parts of a recording to play one after another.

    Args:
        pcm: int16 [n].
        sample_rate: in Hz.
        longest: seconds. Longer pauses lose their middle. Before the first sound at most half of this is left, and
            after the last sound nothing.

    Returns:
        (start, stop) of each part, in samples and in order; none if all is silent.
    """
    block = max(1, round(BLOCK_SECONDS * sample_rate))
    half = round(longest / 2 * sample_rate)
    sounds = [(a * block, min(b * block, len(pcm))) for a, b in _runs(~_silent_blocks(pcm, block))]
    if not sounds:
        return []
    parts = [(max(0, sounds[0][0] - half), sounds[0][1])]
    for (_, end), (begin, stop) in pairwise(sounds):
        if begin - end <= 2 * half:
            parts[-1] = (parts[-1][0], stop)
        else:
            parts[-1] = (parts[-1][0], end + half)
            parts.append((begin - half, stop))
    return parts


def _silent_blocks(pcm: npt.NDArray[np.int16], block: int) -> npt.NDArray[np.bool_]:
    """Return which blocks are silent, [ceil(n / block)]; the last block may be shorter."""
    squares = []
    for first in range(0, len(pcm), AT_ONCE * block):
        samples = pcm[first : first + AT_ONCE * block].astype(np.float64)
        squares.append(np.add.reduceat(samples**2, np.arange(0, len(samples), block)))
    power = np.concatenate([*squares, []])
    lengths = np.diff([*range(0, len(pcm), block), len(pcm)])
    return np.asarray(power <= SILENCE * power.sum() / max(1, len(pcm)) * lengths)


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return ((int(a), int(b)) for a, b in edges.reshape(-1, 2))
