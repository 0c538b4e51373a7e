"""What some arguments may be. Imports nothing slow: the command line shows them in its help."""

import os
from pathlib import Path
from typing import Literal

Channel = Literal["mix", "left", "right"]
"""How the channels of a recording become one: their mean, the first, or the second."""

Scale = Literal["corpus", "recording"]
"""What fills the range of samples: the loudest recording, under one gain for all, or every recording by itself."""

Split = Literal["train", "valid", "test"]
"""The parts of a corpus."""


def names_the_box(path: Path) -> bool:
    """Return whether a path to begin with means the weights that come with Slash: `box`, and nothing is there."""
    return str(path) == "box" and not os.path.lexists(path)
