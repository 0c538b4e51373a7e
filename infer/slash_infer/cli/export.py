"""`slash export`."""

from pathlib import Path
from typing import Annotated

import typer

from slash_infer.cli.console import optional_packages, stderr
from slash_infer.cli.info import print_bundle


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by slash train.")],
    out: Annotated[Path, typer.Option(help="The bundle to make, a folder.")],
    checkpoint: Annotated[str, typer.Option(help="best, last, or the path of a checkpoint.")] = "best",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Export a trained model as ONNX graphs, checked sample by sample against PyTorch.

    \b
    slash export run --out bundle
    slash export run --out bundle --checkpoint last
    """
    with optional_packages("export"):
        from slash_export.bundle_writer import export as make_bundle
        from slash_train.run import Run
    with stderr().status("exporting and checking"):
        manifest = make_bundle(Run(run), out, checkpoint=checkpoint, force=force)
    print_bundle(out, manifest)
