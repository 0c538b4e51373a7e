"""Arguments that take one of a few values. Imports nothing slow: the command line shows them in its help."""

from typing import Literal

Channel = Literal["mix", "left", "right"]
"""How the channels of a recording become one: their mean, the first, or the second."""

Split = Literal["train", "valid", "test"]
"""The parts of a corpus."""
