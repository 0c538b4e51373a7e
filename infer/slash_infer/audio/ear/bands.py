"""Frames of a source, and their levels in mel bands."""

from collections.abc import Iterator

import numpy as np

from slash_infer.audio.ear.source import RATE, Float64, Source, rebatched

FRAME = 1024
HOP = 512
"""Samples from one frame to the next."""
FRAMES_PER_SECOND = RATE / HOP
BANDS = 40
LOWEST_HERTZ, HIGHEST_HERTZ = 60.0, 8000.0
FLOOR_DB = -50.0
"""Of a band. A band's level is 10 log10 of the sum of |rfft(Hann * frame)|^2, weighted by the band's triangle of
height 1: after a source is scaled to RMS_LEVEL, all bands together have about 33 dB."""
RMS_LEVEL = 0.1
"""Root mean square that every source is scaled to before its frames are taken."""
SILENT = 1e-6
"""Root mean square, -120 dB of full scale: what is quieter is not scaled."""
TOGETHER = 512  # frames


def power(source: Source) -> float:
    """Return the mean square of a source; 0 if it is empty."""
    squares = samples = 0.0
    for batch in rebatched(source.blocks(), TOGETHER * HOP, 0):
        squares += float(np.dot(batch, batch))
        samples += len(batch)
    return squares / max(samples, 1.0)


def gain_of(mean_square: float) -> float:
    """Return the factor that brings a source with this mean square to RMS_LEVEL; 1 for one that is silent."""
    return float(RMS_LEVEL / np.sqrt(mean_square)) if mean_square > SILENT**2 else 1.0


def frames_of(source: Source, hop: int = HOP) -> Iterator[Float64]:
    """Yield the frames of a source, some hundred at a time, [n, FRAME].

    A source that is shorter than a frame is filled up with silence. What is left after the last whole frame is not
    looked at.

    Args:
        source: what to cut into frames.
        hop: samples from one to the next, at most FRAME.
    """
    first = True
    for batch in rebatched(source.blocks(), (TOGETHER - 1) * hop + FRAME, FRAME - hop):
        if len(batch) < FRAME and not first:
            return
        filled = np.pad(batch, (0, max(0, FRAME - len(batch))))
        yield np.lib.stride_tricks.sliding_window_view(filled, FRAME)[::hop]
        first = False


def spectra(frames: Float64) -> Float64:
    """Return the power spectra of frames, [n, FRAME // 2 + 1]."""
    return np.asarray(np.abs(np.fft.rfft(frames * _WINDOW)) ** 2)


def band_levels(power_spectra: Float64) -> Float64:
    """Return the levels of the bands in dB, at least FLOOR_DB, [n, BANDS]."""
    return np.asarray(10 * np.log10(np.maximum(power_spectra @ _TRIANGLES, 10 ** (FLOOR_DB / 10))))


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _triangles() -> Float64:
    """Return the weight of each bin in each band, [bins, BANDS]: triangles that overlap by half, evenly in mel."""
    mel = np.linspace(_mel(LOWEST_HERTZ), _mel(HIGHEST_HERTZ), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, RATE / 2, FRAME // 2 + 1)[:, np.newaxis]
    return np.asarray(np.clip(np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0, None))


_WINDOW = np.hanning(FRAME + 1)[:-1]  # periodic
_TRIANGLES = _triangles()
