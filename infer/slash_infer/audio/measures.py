"""Measures that catch the known failures of generated audio: silence, noise, one held tone.

The score is a product of four factors, each derived from one measure with a physical meaning. The measures know
nothing of music: they find failures, and leave taste to ears.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

FLOOR = 1e-12  # of power: -120 dB of full scale
FRAME_SECONDS = 0.064  # of each Fourier transform
SILENT_DB = -50.0  # of full scale: quieter frames are silent
MOMENT_SECONDS = 0.25  # over which spectra are averaged before they are compared over time
FEWEST_MOMENTS = 4  # in any clip, however short
LOWEST_HERTZ = 100.0
BANDS_PER_OCTAVE = 3
RANGE_DB = 50.0  # movement further below the clip's loudest band does not count

NOISE_FLATNESS = 0.5  # white noise has exp(-0.577) = 0.56
HELD_TONE_DB = 1.5  # of movement: steady noise has 0.8 by chance, recorded solos never have less than 3
MOSTLY_SILENT = 0.5
LONG_ENOUGH = 1.0  # seconds: a shorter held note is no failure

Fault = Literal["silence", "noise", "held tone"]


@dataclass(frozen=True)
class Measures:
    """The measures of a clip."""

    level_db: float
    """Root mean square in dB of full scale."""
    silent: float
    """Share of the time that is silent."""
    flatness: float
    """Median spectral flatness: near 0 for tones, 0.56 for white noise."""
    movement_db: float
    """How much the spectrum changes from one quarter of a second to the next, the median over time."""
    faults: tuple[Fault, ...]
    score: float
    """0 to 1, the higher the better."""


def measure(samples: npt.NDArray[np.floating], sample_rate: int, surprise: float | None = None) -> Measures:
    """Measure a clip.

    Args:
        samples: in [-1, 1], [T].
        sample_rate: in Hz.
        surprise: the model's bits per sample for the clip, minus its bits per sample for recordings; None if unknown,
            which leaves its factor out of the score.

    Returns:
        the level; the share of silence; spectral flatness, the geometric over the arithmetic mean of the power
        spectrum; movement, the change of level in a third-octave band from one quarter of a second to the next,
        averaged over the bands, its median over time; the faults found; and the score: the audible share, times
        1 - flatness / 0.5, times movement / (movement + 3 dB), times 2 ** -|surprise|.
    """
    x = np.asarray(samples if len(samples) else [0.0], np.float64)
    spectra = _power_spectra(x, sample_rate)
    audible = spectra.sum(axis=1) > 10 ** (SILENT_DB / 10)
    silent = 1.0 - float(audible.mean())
    flatness = float(np.median(_flatness(spectra[audible]))) if audible.any() else 0.0
    movement = _movement(spectra, sample_rate)
    present: dict[Fault, bool] = {
        "silence": silent > MOSTLY_SILENT,
        "noise": flatness > NOISE_FLATNESS,
        "held tone": movement < HELD_TONE_DB and len(x) >= LONG_ENOUGH * sample_rate,
    }
    faults = tuple(fault for fault, is_present in present.items() if is_present)
    score = (1 - silent) * max(0.0, 1 - flatness / NOISE_FLATNESS) * movement / (movement + 3)
    return Measures(
        level_db=float(_decibels(np.mean(x**2, keepdims=True))[0]),
        silent=silent,
        flatness=flatness,
        movement_db=movement,
        faults=faults[:1],  # noise and silence do not move, either
        score=score * 2 ** -abs(surprise or 0.0),
    )


def _power_spectra(x: Float64, sample_rate: int) -> Float64:
    """Return the power in each bin of overlapping frames, [frames, bins]; a frame's sum is its mean square."""
    size = 2 * max(2, round(FRAME_SECONDS * sample_rate / 2))
    padded = np.pad(x, (0, max(0, size - len(x))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    window = np.hanning(size)
    spectra = np.empty((len(frames), size // 2 + 1))
    for i, frame in enumerate(frames):  # one by one: a long clip's windowed frames together would be large
        spectra[i] = np.abs(np.fft.rfft(frame * window)) ** 2
    spectra[:, 1:-1] *= 2
    return np.asarray(spectra / (size * (window**2).sum()))


def _flatness(spectra: Float64) -> Float64:
    """Return each frame's spectral flatness, [frames]. DC is left out, as it cannot be heard."""
    power = spectra[:, 1:] + FLOOR / spectra.shape[1]
    return np.asarray(np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1))


def _movement(spectra: Float64, sample_rate: int) -> float:
    """Return the change of a band's level from moment to moment in dB: mean over the audible bands, median over time.

    By the median, a clip that stands still for more than half of its length scores near 0, however it began.
    """
    moments = max(FEWEST_MOMENTS, round(len(spectra) * FRAME_SECONDS / 2 / MOMENT_SECONDS))
    averaged = np.stack([part.mean(axis=0) for part in np.array_split(spectra, min(moments, len(spectra)))])
    hertz = np.linspace(0, sample_rate / 2, spectra.shape[1])
    octaves = float(np.log2(sample_rate / 2 / LOWEST_HERTZ))
    edges = LOWEST_HERTZ * 2 ** (np.arange(int(octaves * BANDS_PER_OCTAVE) + 1) / BANDS_PER_OCTAVE)
    inside = [(hertz >= low) & (hertz < high) for low, high in pairwise(edges)]
    levels = _decibels(np.stack([averaged[:, bins].sum(axis=1) for bins in inside if bins.any()], axis=1))
    loudest = levels.max()
    heard = levels.max(axis=0) > loudest - RANGE_DB
    changes = np.abs(np.diff(np.maximum(levels[:, heard], loudest - RANGE_DB), axis=0))
    return float(np.median(changes.mean(axis=1))) if len(changes) else 0.0


def _decibels(power: Float64) -> Float64:
    return np.asarray(10 * np.log10(np.maximum(power, FLOOR)))
