"""Normalises the level of a finished clip."""

import numpy as np
import numpy.typing as npt

from slash_infer.choices import Normalise
from slash_infer.errors import Argument, UserError

HIGHEST_PEAK = 10 ** (-1 / 20)  # of full scale: -1 dB
LOUDNESS = -16.0  # LUFS, as is usual for listening on phones and computers
SHORTEST = 0.4  # seconds: one gating block of ITU-R BS.1770
LONGEST = 3600.0  # seconds: the whole clip is held in memory


def normalise(samples: npt.NDArray[np.float32], sample_rate: int, how: Normalise) -> npt.NDArray[np.float32]:
    """Return a clip, [T], with its peak at -1 dB of full scale, or its loudness at -16 LUFS (ITU-R BS.1770-4).

    Loudness never raises the peak above -1 dB. Silence stays silence.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return samples
    gain = HIGHEST_PEAK / peak
    if how == "loudness":
        from pyloudnorm import Meter

        loudness = Meter(sample_rate).integrated_loudness(samples.astype(np.float64))
        if np.isfinite(loudness):  # it is -inf if the gate passes nothing
            gain = min(gain, 10 ** ((LOUDNESS - loudness) / 20))
    return samples * np.float32(gain)


def check_length(seconds: float, how: Normalise) -> None:
    """Check that clips of this length can be normalised.

    Raises:
        UserError: they are too short to have a loudness, or too long to be held in memory.
    """
    shortest = SHORTEST if how == "loudness" else 0.0
    if not shortest <= seconds <= LONGEST:
        raise UserError(
            Argument("normalise", how), f"takes clips of {shortest:g} to {LONGEST:g} seconds, not {seconds:g}"
        )
