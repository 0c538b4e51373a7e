"""Augmentation: a clip is played at another speed each time, as if the strings were tuned to another pitch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from slash_infer.codec import PCM16_SCALE, to_pcm16


@dataclass(frozen=True)
class Augmentation:
    """What a clip goes through before it is encoded."""

    speed: float = 1.0
    """Over 1 is faster and higher: 2 ** (1 / 12) is a semitone."""

    def length(self, samples: int) -> int:
        """Return how many samples become of `samples`."""
        return max(1, round(samples / self.speed))

    def apply(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """Return int16 [n] as it is played, int16 [length(n)], resampled by soxr at high quality."""
        if self.speed == 1:
            return pcm
        played = np.zeros(self.length(len(pcm)), np.float32)
        resampled = soxr.resample(np.asarray(pcm, np.float32) / PCM16_SCALE, self.speed, 1.0)[: len(played)]
        played[: len(resampled)] = resampled
        return to_pcm16(played)


def draw_augmentation(semitones: int, seed: tuple[int, ...]) -> Augmentation:
    """Return a random augmentation, a function of `seed` alone.

    Args:
        semitones: the pitch changes by at most this, up or down, in whole semitones: instruments stay in tune.
        seed: non-negative numbers.
    """
    return Augmentation(float(2 ** (int(np.random.default_rng(seed).integers(-semitones, semitones + 1)) / 12)))
