"""Harmonicity: how nearly a sound repeats from one period to the next."""

import numpy as np

from slash_infer.audio.ear.source import RATE, Float64

LAGS = range(24, 256)
"""Samples: the periods of 63 to 667 Hz, among which are multiples of the periods of every higher tone."""
LOUD = 1e-4
"""Mean square of the frames that count, after scaling: 20 dB under the source's own level."""
FRAMES_AT_ONCE = 32


def block_harmonicities(blocks: Float64, rate: int) -> Float64:
    """Return the harmonicity of blocks of about 64 ms at any rate, loud or not, [m]. An offset from zero is none.

    Args:
        blocks: [m, n].
        rate: in Hz.
    """
    return repetition(blocks - blocks.mean(axis=1, keepdims=True), lags_at(rate))


def lags_at(rate: int) -> range:
    """Return the same periods in samples at another rate than that at which everything else is measured."""
    return range(max(1, round(LAGS.start * rate / RATE)), max(2, round(LAGS.stop * rate / RATE)))


def harmonicities(frames: Float64) -> Float64:
    """Return the harmonicity of each frame that is loud enough, [m]."""
    return repetition(frames[(frames**2).mean(axis=1) > LOUD], LAGS)


def repetition(frames: Float64, lags: range) -> Float64:
    """Return how nearly each frame repeats, [m].

    It is the largest normalised autocorrelation at the lags, of the frame without a window:
    sum x(t) x(t + lag) / sqrt(sum x(t)^2 sum x(t + lag)^2), all sums over those t for which x(t + lag) is in the
    frame. A periodic sound has 1, white noise about 0.1, silence 0.

    Args:
        frames: [m, n].
        lags: in samples, all under n.
    """
    found = np.zeros(len(frames))
    length, lag = frames.shape[1], np.array(lags)
    size = _fast_size(length + lags[-1])
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        some = frames[first : first + FRAMES_AT_ONCE]
        transform = np.fft.rfft(some, size)
        products = np.fft.irfft(np.abs(transform) ** 2, size)[:, lag]
        energy = np.cumsum(some**2, axis=1)
        without_end = energy[:, length - lag - 1]
        without_beginning = energy[:, -1:] - energy[:, lag - 1]
        norms = np.sqrt(np.maximum(without_end * without_beginning, 1e-20))
        found[first : first + FRAMES_AT_ONCE] = (products / norms).max(axis=1)
    return found


def _fast_size(least: int) -> int:
    """Return the smallest size of a fast Fourier transform, 1, 3 or 5 times a power of two, that is large enough."""
    return min(odd << (-(-least // odd) - 1).bit_length() for odd in (1, 3, 5))
