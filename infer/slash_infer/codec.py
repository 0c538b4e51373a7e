"""Quantisation: real samples in [-1, 1] to integer codes in [0, Q) and back.

The only implementation: training, export and generation all use it, so they cannot disagree.
"""

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

PCM16_SCALE = 32768.0  # int16 full scale: a PCM value v is the real sample v / 32768


class Codec(BaseModel):
    """A scalar quantiser with `levels` (Q) codes, evenly spaced on a mu-law or linear scale.

    Mu-law is the continuous companding curve of ITU-T G.711 with mu = Q - 1 (compared with linear quantisation in the
    SampleRNN paper, section 3.1). The ends of the range, -1 and 1, are the codes 0 and Q - 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["mu-law", "linear"] = "mu-law"
    levels: int = Field(default=256, ge=2, le=65536)

    def encode(self, samples: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the codes of real samples, in their shape. Samples outside [-1, 1] are clipped.

        Raises:
            ValueError: a sample is NaN, or no real number.
        """
        given = np.asarray(samples)
        if given.dtype.kind not in "fiu":
            raise ValueError("samples must be real numbers")
        x = np.clip(given.astype(np.float64, copy=False), -1.0, 1.0)
        if np.isnan(x).any():
            raise ValueError("cannot quantise NaN")
        mu = self.levels - 1
        if self.kind == "mu-law":
            x = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
        return np.floor((x + 1.0) / 2.0 * mu + 0.5).astype(np.int32)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the real samples in [-1, 1] of codes, in their shape.

        Raises:
            ValueError: a code is outside [0, Q), or no integer.
        """
        q = np.asarray(codes)
        if q.size and q.dtype.kind not in "iu":
            raise ValueError("codes must be integers")
        if q.size and (q.min() < 0 or q.max() >= self.levels):
            raise ValueError(f"codes must be in [0, {self.levels})")
        return np.asarray(_decoded(self)[q.astype(np.intp, copy=False)])

    def encode_pcm16(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int32]:
        """Return `encode(pcm / 32768)`, by table look-up."""
        return _pcm16_codes(self)[pcm.view(np.uint16)]

    @property
    def silence(self) -> int:
        """The code of a zero sample, which fills the history before the first sample of a clip."""
        return int(self.encode(0.0))


def to_pcm16(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Return real samples as int16 PCM, in their shape: rounded to the nearest v / 32768 and clipped to the range."""
    return np.asarray(np.clip(np.rint(samples * PCM16_SCALE), -32768, 32767), np.int16)


@cache
def _decoded(codec: Codec) -> npt.NDArray[np.float32]:
    """Return the sample of each code."""
    mu = codec.levels - 1
    y = 2.0 * np.arange(codec.levels) / mu - 1.0
    if codec.kind == "mu-law":
        y = np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu
    return y.astype(np.float32)


@cache
def _pcm16_codes(codec: Codec) -> npt.NDArray[np.int32]:
    """Return the code of each int16 value, indexed by its bits read as uint16."""
    every_pcm = np.arange(65536, dtype=np.uint16).view(np.int16)
    return codec.encode(every_pcm / PCM16_SCALE)
