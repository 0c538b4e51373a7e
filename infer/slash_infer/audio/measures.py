"""Measures that catch the known failures of generated audio: silence, noise, one held tone.

The score is a product of four factors, each derived from one measure with a physical meaning. The measures know
nothing of music: they find failures, and leave taste to ears.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BLOCK = 1 << 16  # samples looked at together
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
    """0 to 1, the higher the better. Where the recordings are known, `slash_infer.clips.measured` replaces it."""


def measure(samples: npt.NDArray[np.floating], sample_rate: int, surprise: float | None = None) -> Measures:
    """Measure a clip that is in memory, [T]. The arguments are those of `Meter`."""
    meter = Meter(sample_rate)
    meter.add(samples)
    return meter.measures(surprise)


class Meter:
    """Measures a clip block by block: memory hardly grows with the clip.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._size = 2 * max(2, round(FRAME_SECONDS * sample_rate / 2))
        self._bands = _bands(self._size // 2 + 1, sample_rate)
        self._rest: Float64 = np.zeros(0)
        self._length, self._squares = 0, 0.0
        self._frames: list[_Frames] = []

    def add(self, samples: npt.NDArray[np.floating]) -> None:
        """Take the next samples, in [-1, 1], [T]."""
        for first in range(0, len(samples), BLOCK):
            block = np.asarray(samples[first : first + BLOCK], np.float64)
            self._length += len(block)
            self._squares += float((block**2).sum())
            pending = np.concatenate([self._rest, block])
            if len(pending) >= self._size:
                self._take(pending)
                pending = pending[(len(pending) - self._size) // self._hop * self._hop + self._hop :]
            self._rest = pending

    def measures(self, surprise: float | None = None) -> Measures:
        """Return what was measured in all samples so far.

        Args:
            surprise: the model's bits per sample for the clip, minus its bits per sample for recordings; None if
                unknown, which leaves its factor out of the score.

        Returns:
            the level; the share of silence; spectral flatness, the geometric over the arithmetic mean of the power
            spectrum; movement, the change of level in a third-octave band from one quarter of a second to the next,
            averaged over the bands, its median over time; the faults found; and the score: the audible share, times
            1 - flatness / 0.5, times movement / (movement + 3 dB), times 2 ** -|surprise|.
        """
        if not self._frames:  # shorter than one
            self._take(np.pad(self._rest, (0, self._size - len(self._rest))))
        power, flat, bands = (np.concatenate(parts) for parts in zip(*self._frames, strict=True))
        audible = power > 10 ** (SILENT_DB / 10)
        silent = 1.0 - float(audible.mean())
        flatness = float(np.median(flat[audible])) if audible.any() else 0.0
        movement = _movement(bands)
        present: dict[Fault, bool] = {
            "silence": silent > MOSTLY_SILENT,
            "noise": flatness > NOISE_FLATNESS,
            "held tone": movement < HELD_TONE_DB and self._length >= LONG_ENOUGH * self._rate,
        }
        faults = tuple(fault for fault, is_present in present.items() if is_present)
        score = (1 - silent) * max(0.0, 1 - flatness / NOISE_FLATNESS) * movement / (movement + 3)
        return Measures(
            level_db=float(_decibels(np.array([self._squares / max(1, self._length)]))[0]),
            silent=silent,
            flatness=flatness,
            movement_db=movement,
            faults=faults[:1],  # noise and silence do not move, either
            score=score * 2 ** -abs(surprise or 0.0),
        )

    @property
    def _hop(self) -> int:
        return self._size // 2

    def _take(self, samples: Float64) -> None:
        """Measure every frame that fits in some samples."""
        spectra = _power_spectra(samples, self._size)
        bands = np.stack([spectra[:, bins].sum(axis=1) for bins in self._bands], axis=1)
        self._frames.append(_Frames(spectra.sum(axis=1), _flatness(spectra), bands))


class _Frames(NamedTuple):
    """What is measured in each of some frames."""

    power: Float64
    """Mean square, [frames]."""
    flatness: Float64
    """[frames]."""
    bands: Float64
    """Power in each third of an octave, [frames, bands]."""


def _power_spectra(x: Float64, size: int) -> Float64:
    """Return the power in each bin of overlapping frames, [frames, bins]; a frame's sum is its mean square."""
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[:: size // 2]
    spectra = np.abs(np.fft.rfft(frames * window)) ** 2
    spectra[:, 1:-1] *= 2
    return np.asarray(spectra / (size * (window**2).sum()))


def _bands(bins: int, sample_rate: int) -> list[npt.NDArray[np.bool_]]:
    """Return which bins are in each third of an octave: in one band, all of them, where the rate is so low."""
    hertz = np.linspace(0, sample_rate / 2, bins)
    octaves = float(np.log2(sample_rate / 2 / LOWEST_HERTZ))
    edges = LOWEST_HERTZ * 2 ** (np.arange(int(octaves * BANDS_PER_OCTAVE) + 1) / BANDS_PER_OCTAVE)
    inside = [(hertz >= low) & (hertz < high) for low, high in pairwise(edges)]
    return [band for band in inside if band.any()] or [np.ones(bins, bool)]


def _flatness(spectra: Float64) -> Float64:
    """Return each frame's spectral flatness, [frames]. DC is left out, as it cannot be heard."""
    power = spectra[:, 1:] + FLOOR / spectra.shape[1]
    return np.asarray(np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1))


def _movement(bands: Float64) -> float:
    """Return the change of a band's level from moment to moment in dB: mean over the audible bands, median over time.

    By the median, a clip that stands still for more than half of its length scores near 0, however it began.
    """
    moments = max(FEWEST_MOMENTS, round(len(bands) * FRAME_SECONDS / 2 / MOMENT_SECONDS))
    averaged = np.stack([part.mean(axis=0) for part in np.array_split(bands, min(moments, len(bands)))])
    levels = _decibels(averaged)
    loudest = levels.max()
    heard = levels.max(axis=0) > loudest - RANGE_DB
    changes = np.abs(np.diff(np.maximum(levels[:, heard], loudest - RANGE_DB), axis=0))
    return float(np.median(changes.mean(axis=1))) if len(changes) else 0.0


def _decibels(power: Float64) -> Float64:
    return np.asarray(10 * np.log10(np.maximum(power, FLOOR)))
