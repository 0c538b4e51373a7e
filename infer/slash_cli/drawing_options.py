"""The options of all commands that draw samples."""

from typing import Annotated

import typer

from slash_infer.choices import Surprise
from slash_infer.sampling.default_floor import DEFAULT_FLOOR

FloorOption = Annotated[
    float | None,
    typer.Option(
        help="Codes of this probability or less are never drawn: 0 to 0.9 / the number of codes. "
        f"[default: {DEFAULT_FLOOR:g} for 256]"
    ),
]

SurpriseOption = Annotated[
    str,
    typer.Option(
        help="Lower the temperature where what is drawn has more than so many bits/sample, as noise has; "
        "off, or auto: three quarters of what held-out recordings have."
    ),
]


def parse_surprise(text: str) -> Surprise:
    """Return what `--surprise` says.

    Raises:
        UserError: it is neither a number in range, nor auto, nor off.
    """
    from slash_infer.sampling.surprise import check_surprise

    try:
        return check_surprise(float(text))
    except ValueError:
        return check_surprise(text)
