"""`slash build`."""

from pathlib import Path
from typing import Annotated

import typer

from slash_infer.cli.console import stderr, stdout, table


def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    target: Annotated[
        str | None,
        typer.Option(help="The compute capability to build for, such as 8.9. [default: the GPU here]"),
    ] = None,
) -> None:
    """Build TensorRT plans of a bundle's fp32 and fp16 graphs into your cache, so that generating starts at once.

    \b
    slash build bundle
    slash build bundle --target 8.9
    """
    from slash_infer.build import build_plans
    from slash_infer.bundle import Bundle

    rows = table(f"{bundle}: TensorRT plans", "graph", "graph size", "plan size", "built in")
    plans = []
    with stderr().status("building"):
        for plan in build_plans(Bundle(bundle), target):
            plans.append(plan.plan)
            took = f"{plan.seconds:.1f} s" if plan.seconds else "cached"
            rows.add_row(plan.graph, f"{plan.graph_bytes / 1e6:.1f} MB", f"{plan.plan_bytes / 1e6:.1f} MB", took)
    stdout().print(rows)
    stdout().print(f"in {plans[0].parent}")
