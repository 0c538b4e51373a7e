"""The floor of the probabilities that codes are drawn with."""

from slash_infer.arguments import as_number, passed
from slash_infer.errors import UserError

MOST = 0.9
"""Of the probability 1 / Q that each of Q codes has if all are alike.

From there on nothing might be left to draw from. Up to it the floor takes at most nine tenths of the distribution, which
no rounding makes up for.
"""


def as_floor(floor: object, levels: int) -> float:
    """Return a floor for a codec of so many levels, Q.

    Raises:
        UserError: it is no number, or not from 0 to 0.9 / Q.
    """
    try:
        return as_number("floor", floor, 0, MOST / levels)
    except UserError:
        raise UserError(
            passed("floor", floor),
            f"must be from 0 to {MOST / levels:g}, which is {MOST:g} / {levels} codes",
            "0 leaves no code out",
        ) from None
