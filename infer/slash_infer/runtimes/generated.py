"""What sampling returns: the codes drawn, and the likelihood of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from slash_infer.runtimes.generation_state import Float32, Int32, Rows

ROUNDING = 1e-3  # nats: a probability may be rounded to a little over 1


@dataclass(frozen=True)
class Generated:
    """Codes and their likelihoods."""

    codes: Int32
    """[B, T]."""
    nll: Float32
    """Negative log-likelihood of each code in nats, [B, T], at the temperature it was drawn at, before the floor."""

    @classmethod
    def empty(cls, clips: int) -> Self:
        """Return no samples of some clips."""
        return cls(np.zeros((clips, 0), np.int32), np.zeros((clips, 0), np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence["Generated"], axis: int) -> Self:
        """Join parts: more clips along axis 0, later samples along axis 1."""
        codes = np.concatenate([part.codes for part in parts], axis=axis)
        return cls(codes, np.concatenate([part.nll for part in parts], axis=axis))

    def select(self, clips: Rows = slice(None), times: slice = slice(None)) -> Self:
        """Return some of the clips, or some of the samples of each."""
        return type(self)(self.codes[clips][:, times], self.nll[clips][:, times])

    def fault(self, levels: int) -> str | None:
        """Return what is wrong with it, of a bundle whose codec has so many levels, or None."""
        if self.codes.min(initial=0) < 0 or self.codes.max(initial=0) >= levels:
            return "its graphs draw codes that its codec does not have"
        least, most = float(self.nll.min(initial=0)), float(self.nll.max(initial=0))  # NaN if one is
        if not (least >= -ROUNDING and most < math.inf):
            return "its graphs give likelihoods that are not from 0 to 1"
        return None
