"""What takes samples while they are generated."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Sink(Protocol):
    """A destination of mono samples."""

    def write(self, samples: npt.NDArray[np.float32]) -> None:
        """Take samples in [-1, 1], [T], and wait while there is no room for them."""
