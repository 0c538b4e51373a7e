"""Harmonicity: how nearly a sound repeats from one period to the next."""

import numpy as np

from slash_infer.audio.ear.source import Float64

LAGS = range(24, 256)
"""Samples: the periods of 63 to 667 Hz, among which are multiples of the periods of every higher tone."""
LOUD = 1e-4
"""Mean square of the frames that count, after scaling: 20 dB under the source's own level."""


def harmonicities(frames: Float64) -> Float64:
    """Return the harmonicity of each frame that is loud enough, [m].

    It is the largest normalised autocorrelation at LAGS, of the frame without a window:
    sum x(t) x(t + lag) / sqrt(sum x(t)^2 sum x(t + lag)^2), all sums over those t for which x(t + lag) is in the
    frame. A periodic sound has 1, white noise about 0.1.
    """
    loud = frames[(frames**2).mean(axis=1) > LOUD]
    length, lags = frames.shape[1], np.array(LAGS)
    transform = np.fft.rfft(loud, length + lags[-1])
    products = np.fft.irfft(np.abs(transform) ** 2, length + lags[-1])[:, lags]
    energy = np.cumsum(loud**2, axis=1)
    without_end = energy[:, length - lags - 1]
    without_beginning = energy[:, -1:] - energy[:, lags - 1]
    norms = np.sqrt(np.maximum(without_end * without_beginning, 1e-20))
    return np.asarray((products / norms).max(axis=1))
