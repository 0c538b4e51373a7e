"""Quantisation: real samples in [-1, 1] to integer codes in [0, Q) and back. The only implementation.

Everything else (training, export, generation) turns audio into codes here, so no two parts can disagree.
"""

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

PCM16_SCALE = 32768.0  # int16 full scale: a PCM value v stands for the real sample v / 32768


class Codec(BaseModel):
    """A scalar quantiser with `levels` (Q) codes, evenly spaced on a mu-law or a linear scale.

    Mu-law is ITU-T G.711's continuous compressing curve with mu = Q - 1 (SampleRNN paper, section 3.1,
    compares it with linear). Both ends of the range, -1 and 1, are codes themselves: 0 and Q - 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["mu-law", "linear"] = "mu-law"
    levels: int = Field(default=256, ge=2, le=65536)

    def encode(self, samples: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Turn real samples, any shape, into codes of that shape. Values outside [-1, 1] are clipped.

        Raises:
            ValueError: a sample is NaN, which no code can stand for.
        """
        x = np.clip(np.asarray(samples, dtype=np.float64), -1.0, 1.0)
        if np.isnan(x).any():
            raise ValueError("cannot quantise NaN")
        mu = self.levels - 1
        if self.kind == "mu-law":
            x = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
        return np.floor((x + 1.0) / 2.0 * mu + 0.5).astype(np.int32)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Turn codes, any shape, into real samples in [-1, 1] of that shape.

        Raises:
            ValueError: a code is outside [0, Q).
        """
        q = np.asarray(codes)
        if q.size and (q.min() < 0 or q.max() >= self.levels):
            raise ValueError(f"codes must be in [0, {self.levels})")
        mu = self.levels - 1
        y = 2.0 * q.astype(np.float64) / mu - 1.0
        if self.kind == "mu-law":
            y = np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu
        return y.astype(np.float32)

    def encode_pcm16(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int32]:
        """Turn int16 PCM, any shape, into codes by table look-up: the same as `encode(pcm / 32768)`."""
        return _pcm16_codes(self)[pcm.view(np.uint16)]

    @property
    def silence(self) -> int:
        """The code of a zero sample: what comes before the first sample of every clip."""
        return int(self.encode(0.0))


def to_pcm16(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Turn real samples, any shape, into int16 PCM: the nearest v / 32768, the ends of the range clipped."""
    return np.asarray(np.clip(np.rint(samples * PCM16_SCALE), -32768, 32767), np.int16)


@cache
def _pcm16_codes(codec: Codec) -> npt.NDArray[np.int32]:
    """Return the code of each int16 value, indexed by its bits read as uint16."""
    every_pcm = np.arange(65536, dtype=np.uint16).view(np.int16)
    return codec.encode(every_pcm / PCM16_SCALE)
