"""Types of arguments that name one of a few choices. Imports nothing, so that the command line can show them at once."""

from typing import Literal

Channel = Literal["mix", "left", "right"]
"""How the channels of a recording become one: their mean, the first, or the second."""

Split = Literal["train", "valid", "test"]
"""The parts of a corpus."""
