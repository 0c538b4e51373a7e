"""Finds where a note begins."""

import numpy as np
import numpy.typing as npt

BLOCK_SECONDS = 0.01
COMPARED = 3  # blocks, on each side
FLOOR = 1e-4  # of the mean square, 40 dB below: rises that stay under it do not count


def strongest_attack(pcm: npt.NDArray[np.int16], sample_rate: int) -> int:
    """Return the sample at which the level rises most, from the 30 ms before it to the 30 ms after it.

    Args:
        pcm: int16 [n].
        sample_rate: in Hz.

    Returns:
        a multiple of 10 ms, at least 30 ms from both ends; the middle if `pcm` is too short, or silent.
    """
    block = max(1, round(BLOCK_SECONDS * sample_rate))
    count = len(pcm) // block
    power = np.square(pcm[: count * block], dtype=np.float64).reshape(count, block).mean(axis=1)
    if count < 2 * COMPARED or not power.any():
        return len(pcm) // 2
    around = np.convolve(power + FLOOR * power.mean(), np.ones(COMPARED), "valid")  # [i]: blocks i to i + 2
    rise = around[COMPARED:] / around[:-COMPARED]
    return block * (COMPARED + int(rise.argmax()))
