"""The bundle, `--engine` and `--precision`, as the commands that run a bundle take them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import stderr
from slash_cli.lazy import load_command, option_of
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.errors import rename_arguments
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, MOST_CANDIDATES

if TYPE_CHECKING:
    from slash_infer.bundle import Bundle
    from slash_infer.sampling.engine import Engine

BundleArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="BUNDLE",
        help="A folder made by slash export. [default: the model that comes with Slash]",
        show_default=False,
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(help="What runs the model. auto takes cluster, or else times what there is, without compiled."),
]
PrecisionOption = Annotated[PrecisionName, typer.Option(help="What it computes in, of those in the bundle.")]


def open_bundle(bundle: Path | None) -> "Bundle":
    """Open the bundle that was named, or else the one that comes with Slash."""
    from slash_infer.bundle import Bundle

    return Bundle.in_the_box() if bundle is None else Bundle(bundle)


def rows_side_by_side(clips: int, candidates: int) -> int:
    """Return how many rows `auto` should time engines with. There may be no clip to make."""
    from slash_infer.arguments import as_integer

    return max(1, clips) * as_integer("candidates", candidates, 1, MOST_CANDIDATES)


def choose_engine(
    bundle: "Bundle",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    *,
    rows: int = DEFAULT_CANDIDATES,
) -> "Engine":
    """Open a bundle on the engine asked for, and print on stderr what `auto` chose and why."""
    from slash_infer.sampling.choice import open_engine

    chosen = open_engine(bundle, engine, precision, rows=rows)
    if "auto" in (engine, precision):
        print_choice(chosen)
    return chosen


def print_choice(chosen: "Engine") -> None:
    """Print on stderr what runs a bundle, and what kept `auto` from others."""
    why = rename_arguments(chosen.why, lambda argument: option_of(load_command("generate"), argument))
    stderr().print(f"{chosen.description}{f' ({why})' if why else ''}")
