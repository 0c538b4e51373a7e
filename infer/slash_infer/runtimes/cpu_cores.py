"""How many cores the engines on the CPU use."""

from slash_infer.arguments import as_integer
from slash_infer.machine import usable_cores

MOST_UNASKED = 8


def cores_to_use(asked: int | None) -> int:
    """Return the number of cores that is asked for; without one, those this process may use, up to MOST_UNASKED.

    Raises:
        UserError: it is not from 1 to 1024.
    """
    return as_integer("cores", min(usable_cores(), MOST_UNASKED) if asked is None else asked, 1, 1024)
