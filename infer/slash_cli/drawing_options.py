"""The options of all commands that draw samples."""

from typing import Annotated

import typer

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
        help="Lower the temperature where what is drawn has more bits/sample, as noise has, and raise it where it "
        "has less, as pauses have: than recordings (as slash info BUNDLE says), off, or LEAST:MOST, such as 3:5.5."
    ),
]
