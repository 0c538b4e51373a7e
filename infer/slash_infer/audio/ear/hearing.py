"""Listens to a recording or a clip once through, and says what was heard."""

from dataclasses import dataclass

import numpy as np

from slash_infer.audio.ear.bands import FRAME, HOP, band_levels, frames_of, gain_of, power, spectra
from slash_infer.audio.ear.harmonicity import harmonicities
from slash_infer.audio.ear.moments import Moments
from slash_infer.audio.ear.onsets import Onsets
from slash_infer.audio.ear.segments import NUMBERS, Segments
from slash_infer.audio.ear.source import RATE, Float64, Source
from slash_infer.audio.ear.stillness import Stillness

QUIETEST_DB = -120.0


@dataclass(frozen=True)
class Heard:
    """What was heard in one source."""

    seconds: float
    """From its beginning to the end of its last frame."""
    level_db: float
    """Root mean square before scaling, in dB of full scale, at least -120."""
    harmonicity: float
    """Median over every second frame that is loud enough; 0 if none is."""
    stuck: float
    """Share of the stretches of five seconds that are silent or still."""
    movement_db: float
    """Change of the bands from one quarter of a second to the next: median in a stretch, median of the stretches."""
    onsets: float
    """Per second."""
    centroid: float
    """Of the mean power spectrum, in Hz; 0 for silence."""
    segments: Moments
    """Of the numbers of its segments; no segments if it is shorter than one."""


def hear(source: Source) -> Heard:
    """Listen to a source. It is read twice, block by block: memory hardly grows with its length."""
    mean_square = power(source)
    stillness, onsets, segments = Stillness(), Onsets(), Segments()
    moments = Moments.of(np.zeros((0, NUMBERS)))
    repeating: list[Float64] = []
    total, count = np.zeros(FRAME // 2 + 1), 0
    gain = gain_of(mean_square)
    for unscaled in frames_of(source):
        frames = gain * unscaled
        repeating.append(harmonicities(frames[count % 2 :: 2]).astype(np.float32))
        powers = spectra(frames)
        levels = band_levels(powers)
        total += powers.sum(axis=0)
        count += len(frames)
        stillness.add(levels)
        onsets.add(levels)
        moments += Moments.of(segments.add(levels))
    stuck, movement = stillness.finish()
    seconds = ((count - 1) * HOP + FRAME) / RATE
    every_second = np.concatenate(repeating)
    return Heard(
        seconds=seconds,
        level_db=max(QUIETEST_DB, float(10 * np.log10(max(mean_square, 1e-30)))),
        harmonicity=float(np.median(every_second)) if len(every_second) else 0.0,
        stuck=stuck,
        movement_db=movement,
        onsets=onsets.finish() / seconds,
        centroid=_centroid(total),
        segments=moments,
    )


def _centroid(total: Float64) -> float:
    hertz = np.linspace(0, RATE / 2, len(total))
    return float(total @ hertz / total.sum()) if total.sum() > 0 else 0.0
