"""`slash demo`."""

from pathlib import Path
from typing import Annotated

import typer

from slash_cli.console import optional_packages
from slash_cli.training_progress import LONGEST_MINUTES


def demo(
    out: Annotated[Path, typer.Option(help="A folder for everything the demo makes.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.01, max=LONGEST_MINUTES, help="Training time.")] = 4.0,
    preset: Annotated[str, typer.Option(help="Model to train.")] = "demo",
    listen: Annotated[
        bool, typer.Option("--listen", help="First play ten seconds of the model that comes with Slash.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
) -> None:
    """Record a synthetic guitarist, train on it, export, generate clips, and show them in a gallery.

    \b
    slash demo
    slash demo --listen
    slash demo --out demo-long --minutes 30
    """
    with optional_packages("demo"):
        from slash_cli.demo_run import run_demo

    run_demo(out, minutes=minutes, preset=preset, listen=listen, force=force)
