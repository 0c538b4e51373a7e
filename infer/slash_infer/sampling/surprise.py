"""Keeps what is drawn as surprising as recordings are, by the temperature.

A model that hears itself drifts away from what it has learned. Noise that it has drawn is followed by more noise, and
surprises it more than any recording does; what it holds on to, a pause or a tone, surprises it less. Where the mean
surprise of the last quarter of a second leaves the range that recordings have, the temperature falls or rises until
the clip is back. It is Mirostat (Basu et al. 2021, arXiv 2007.14966) with a range instead of a target, and without
truncating the distribution.
"""

import math
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import as_number, is_several, passed
from slash_infer.bundle import MOST_SURPRISE, Manifest, SurpriseRange
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.generation_state import Float32

GAIN = 1.0  # of the temperature, for each bit/sample outside of the range
COLDEST, HOTTEST = 0.5, 2.5  # factors of the temperature
BLOCK_SECONDS = 0.064  # between changes of the temperature, rounded to whole steps of the top tier
MEMORY_SECONDS = 0.25
PARTS = 1 << 20  # of a nat: whole numbers add up to the same in any order

Surprise = Literal["recordings"] | Sequence[float] | None
"""What recordings have, as the bundle says; the least and the most bits/sample; or None for any."""

RECORDINGS: Literal["recordings"] = "recordings"
OFF = "off"


def as_surprise(surprise: object, recordings: SurpriseRange | None) -> SurpriseRange | None:
    """Return the range that was passed, in bits/sample, or None for any surprise.

    Args:
        surprise: a `Surprise`.
        recordings: the bundle's.

    Raises:
        UserError: it is none, or out of range.
    """
    if surprise is None:
        return None
    if isinstance(surprise, str):
        if surprise == RECORDINGS:
            return recordings
    elif is_several(surprise) and len(several := cast(Sequence[object], surprise)) == 2:
        least, most = (as_number("surprise", bits, 0, MOST_SURPRISE) for bits in several)
        if least <= most:
            return SurpriseRange(least, most)
    raise UserError(
        passed("surprise", surprise), f"must be {RECORDINGS!r}, the least and the most bits/sample, or None for any"
    )


def parse(text: str) -> Surprise:
    """Read `recordings`, `off`, or the least and the most bits/sample, `3:5.5`.

    Raises:
        UserError: it is none of these, or out of range.
    """
    if text in (RECORDINGS, OFF):
        return RECORDINGS if text == RECORDINGS else None
    try:
        least, most = map(float, text.split(":"))
        return as_surprise((least, most), None)
    except (ValueError, UserError):
        raise UserError(
            Argument("surprise", f"{text!r}"),
            f"must be {RECORDINGS}, {OFF}, or LEAST:MOST in bits/sample, from 0 to {MOST_SURPRISE:g}, such as 3:5.5",
        ) from None


def as_text(surprise: SurpriseRange | None) -> str:
    """Return what `parse` reads as this."""
    return OFF if surprise is None else f"{surprise.least}:{surprise.most}"


class SurpriseControl:
    """The factor of each clip's temperature.

    It changes at the same places of a clip whatever lengths are asked for.

    Args:
        surprise: the range to keep to; None to leave temperatures as they are.
        clips: how many.
        manifest: the bundle's.
    """

    def __init__(self, surprise: SurpriseRange | None, clips: int, manifest: Manifest) -> None:
        self._range = surprise
        block = max(1, round(BLOCK_SECONDS * manifest.sample_rate / manifest.top_hop)) * manifest.top_hop
        self._block, self._weight = block, min(1.0, block / (MEMORY_SECONDS * manifest.sample_rate))
        self.mean: npt.NDArray[np.float64] = np.full(clips, sum(surprise or (0.0,)) / 2)
        """Of the last quarter of a second, [clips], in bits/sample."""
        self.sum: npt.NDArray[np.int64] = np.zeros(clips, np.int64)
        """Of the block so far, [clips], in nats / `PARTS`."""

    def room(self, generated: int) -> float:
        """Return how many samples there are to the next change, after so many of every clip."""
        return math.inf if self._range is None else self._block - generated % self._block

    @property
    def factors(self) -> Float32:
        """What to multiply the temperatures of the next samples by, [clips]."""
        if self._range is None:
            return np.ones(len(self.mean), np.float32)
        outside = self.mean - np.clip(self.mean, self._range.least, self._range.most)
        return np.clip(1 - GAIN * outside, COLDEST, HOTTEST).astype(np.float32)

    def hear(self, nll: Float32, generated: int) -> None:
        """Take in what was drawn.

        Args:
            nll: of the newest samples, [clips, T], in nats; no more than there was room for.
            generated: samples of every clip by now.
        """
        if self._range is None:
            return
        self.sum = self.sum + np.rint(nll.astype(np.float64) * PARTS).astype(np.int64).sum(axis=1)
        if generated % self._block == 0:
            drawn = self.sum / (PARTS * self._block * math.log(2))
            self.mean = self.mean + (drawn - self.mean) * self._weight
            self.sum = np.zeros_like(self.sum)
