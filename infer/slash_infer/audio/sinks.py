"""What a stream of samples is written to."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Sink(Protocol):
    """Takes the samples of one clip, block by block."""

    def write(self, samples: npt.NDArray[np.float32]) -> None:
        """Take samples in [-1, 1], float32 [T]. Blocks while there is no room for them."""
