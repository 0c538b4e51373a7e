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

CandidatesOption = Annotated[
    int,
    typer.Option(
        help="Draw each 64 ms this often, and go on with what is as harmonic as recordings and surprises no more. "
        "1 takes whatever comes; more are cleaner and slower."
    ),
]
RestartOption = Annotated[
    bool, typer.Option(help="Begin anew where a clip is silent, or nothing in it changes.", show_default=False)
]
