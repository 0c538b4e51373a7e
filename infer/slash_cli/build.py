"""`slash build`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import stderr, stdout, table
from slash_cli.next_step import say_generate
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from slash_infer.bundle import Bundle
    from slash_infer.runtimes.prebuild import Builder


def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    target: Annotated[
        str | None,
        typer.Option(help="The compute capability to build for, such as 8.9. [default: the GPU here]"),
    ] = None,
) -> None:
    """Build TensorRT plans of a bundle's fp32 and fp16 graphs into your cache, so that generating starts sooner.

    \b
    slash build bundle
    slash build bundle --target 8.9
    """
    from slash_infer.bundle import Bundle
    from slash_infer.runtimes.prebuild import make_builder

    build_and_print(Bundle(bundle), make_builder(target))
    say_generate(bundle)


def build_and_print(bundle: "Bundle", builder: "Builder") -> None:
    """Build the plans and print their sizes.

    Raises:
        UserError: the bundle has no graphs that TensorRT runs.
    """
    from slash_infer.runtimes.prebuild import build_plans

    rows = table(f"{bundle.path}: TensorRT plans", "graph", "graph size", "clips", "plan size", "built in")
    with stderr().status("building"):
        plans = list(build_plans(bundle, builder))
    if not plans:
        held = ", ".join(variant.precision for variant in bundle.manifest.variants)
        raise UserError(bundle.path, f"has {held} alone, and TensorRT runs fp32 and fp16", "export one of those, too")
    for plan in plans:
        took = f"{plan.seconds:.1f} s" if plan.seconds else "cached"
        fewest, _, most = plan.batches
        clips = str(fewest) if fewest == most else f"{fewest} to {most}"
        rows.add_row(plan.graph, f"{plan.graph_bytes / 1e6:.1f} MB", clips, f"{plan.plan_bytes / 1e6:.1f} MB", took)
    stdout().print(rows)
    stdout().print(f"in {plans[0].plan.parent}")
