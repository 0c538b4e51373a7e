"""`slash export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.build import build_and_print
from slash_cli.console import optional_packages, stderr
from slash_cli.info import print_bundle
from slash_cli.next_step import say_generate
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from slash_infer.bundle import Precision


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by slash train.")],
    out: Annotated[Path, typer.Option(help="The bundle to make, a folder.")],
    checkpoint: Annotated[str, typer.Option(help="best, last, or the path of a checkpoint.")] = "best",
    precision: Annotated[str, typer.Option(help="Of the graphs, with commas: fp32, int8, fp16.")] = "fp32,int8",
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build TensorRT plans, too.")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Keep a precision that loses over 0.01 bits/sample.")
    ] = False,
    without_fp32: Annotated[
        bool,
        typer.Option("--without-fp32", help="Leave fp32 out after the comparisons, which makes a small bundle."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Export a trained model as ONNX graphs, checked sample by sample against PyTorch.

    fp32 is always made, also where it is left out then; int8 is faster on CPUs, fp16 on GPUs, and both are compared
    with fp32.

    \b
    slash export run --out bundle
    slash export run --out bundle --checkpoint last
    slash export run --out bundle --precision fp32,int8,fp16
    slash export run --out small --precision int8 --without-fp32
    """
    precisions = _precisions(precision)
    if tensorrt and without_fp32 and "fp16" not in precisions:
        raise UserError("--tensorrt", "runs fp32 and fp16, and none would be left", "add fp16 to --precision")
    from slash_infer.bundle import MADE_BY, MANIFEST
    from slash_infer.files import check_directory_output, check_exists

    check_exists(run, ["run.json"])
    check_directory_output(out, force=force, metadata=MANIFEST, made_by=MADE_BY, inputs=[run])
    with optional_packages("export"):
        from slash_export.bundle_writer import export as make_bundle
        from slash_train.run import Run
    from slash_infer.bundle import Bundle
    from slash_infer.runtimes.prebuild import make_builder

    builder = make_builder() if tensorrt else None
    with stderr().status("exporting and checking"):
        manifest = make_bundle(
            Run(run),
            out,
            checkpoint=checkpoint,
            precisions=precisions,
            accept_loss=accept_loss,
            without_fp32=without_fp32,
            force=force,
        )
    print_bundle(out, manifest)
    if builder is not None:
        build_and_print(Bundle(out), builder)
    say_generate(out)


def _precisions(text: str) -> "list[Precision]":
    """Parse `fp32,int8`."""
    from slash_infer.bundle import PRECISIONS

    chosen = [precision for precision in PRECISIONS if precision in text.split(",")]
    if set(text.split(",")) - set(PRECISIONS):
        raise UserError(f"--precision {text}", f"must be of {', '.join(PRECISIONS)}, with commas between")
    return chosen
