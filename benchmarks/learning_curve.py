"""Plots bits per sample over training time from a run's metrics, with baselines as horizontal lines.

python benchmarks/learning_curve.py RUN benchmarks/results/held_out_bits.json --out docs/samples/learning_curve.png
"""

from pathlib import Path
from typing import Annotated

import typer

from slash_infer.files import read_json
from slash_train.curve import draw_learning_curve
from slash_train.run import Run


def main(
    run: Annotated[Path, typer.Argument(help="A run of slash train.")],
    scores: Annotated[Path, typer.Argument(help="The result of held_out_bits.py.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
) -> None:
    """Plot training and validation bits per sample against minutes."""
    bits = read_json(scores, "a result of held_out_bits.py", "make it again")["bits_per_sample"]
    baselines = {f"{name} histogram, validation": bits[name]["valid"] for name in ("order 0", "order 1")}
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_learning_curve(Run(run), out, baselines)


if __name__ == "__main__":
    typer.run(main)
