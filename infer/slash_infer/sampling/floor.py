"""The range of floors, which are subtracted from the probabilities of all codes before a draw."""

from slash_infer.arguments import as_number, passed
from slash_infer.errors import UserError
from slash_infer.sampling.default_floor import DEFAULT_FLOOR

SHARE = 0.9
"""The highest floor, as a share of 1 / Q, the probability of each of Q codes if all are alike.

At 1 / Q rounding decides whether such a distribution keeps anything to draw from, and a draw from nothing gives a
code out of range. At 0.9 / Q every distribution keeps a tenth of itself or more.
"""


def highest_floor(levels: int) -> float:
    """Return the highest floor for a codec of so many levels, Q."""
    return SHARE / levels


def as_floor(floor: object, levels: int) -> float:
    """Return a floor for a codec of so many levels, Q: the one given or, for None, the default.

    Raises:
        UserError: it is no number, or not from 0 to 0.9 / Q.
    """
    if floor is None:
        return DEFAULT_FLOOR * 256 / levels
    highest = highest_floor(levels)
    try:
        return as_number("floor", floor, 0, highest)
    except UserError:
        bounds = f"must be from 0 to {highest}, which is {SHARE:g} / {levels} levels of the codec"
        raise UserError(passed("floor", floor), bounds, "0 leaves no code out") from None
