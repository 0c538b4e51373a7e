"""What every decoder of recordings offers."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.float32]
"""Sample frames, [n, channels]; full scale is 1."""

BLOCK_FRAMES = 1 << 16
"""Decoded at a time, which bounds the memory however long a recording is."""


class Decoder(Protocol):
    """A recording that is being decoded."""

    rate: int
    """Sample rate in Hz."""
    channels: int
    counted: float | None
    """Frames that the header says there are; None if it does not, or only estimates."""
    remarks: list[str]
    """What was found that is not as it should be, so far."""

    def blocks(self) -> Iterator[Frames]:
        """Decode the recording to its real end, whatever its header says.

        Raises:
            UserError: it cannot go on, though there is more.
        """


def seconds_of(frames: float, rate: int) -> str:
    """Return a length in words."""
    return f"{frames / rate:.1f}"
