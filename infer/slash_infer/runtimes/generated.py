"""What sampling returns: the codes drawn, and the likelihood of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from slash_infer.runtimes.generation_state import Float32, Int32, Rows


@dataclass(frozen=True)
class Generated:
    """Codes and their likelihoods."""

    codes: Int32
    """[B, T]."""
    nll: Float32
    """Negative log-likelihood of each code in nats, at the temperature it was drawn at, [B, T]."""

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
