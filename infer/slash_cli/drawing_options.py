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
    float | None,
    typer.Option(
        help="Lower the temperature where what is drawn has more bits/sample than this, as noise has. Less than "
        "held-out recordings have (slash info BUNDLE) makes cleaner, duller clips."
    ),
]
