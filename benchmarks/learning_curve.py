"""Draws bits per sample over training time from a run's metrics, with baselines as lines across.

python benchmarks/learning_curve.py RUN benchmarks/results/held_out_bits.json --out docs/samples/learning_curve.png
"""

from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from slash_infer.files import read_json
from slash_train.run import Run


def main(
    run: Annotated[Path, typer.Argument(help="A run of slash train.")],
    scores: Annotated[Path, typer.Argument(help="The result of held_out_bits.py.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
) -> None:
    """Draw training and validation bits per sample against minutes."""
    metrics = list(Run(run).metrics())
    scored = [(m.seconds / 60, m.valid_bits) for m in metrics if m.valid_bits is not None]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    minutes = [m.seconds / 60 for m in metrics]
    axes.plot(minutes, [m.train_bits for m in metrics], linewidth=0.6, alpha=0.6, label="training windows")
    axes.plot([at for at, _ in scored], [bits for _, bits in scored], marker=".", label="validation recording")
    baselines = read_json(scores, "a result of held_out_bits.py")["bits_per_sample"]
    for name, style in (("order 0", ":"), ("order 1", "--")):
        axes.axhline(baselines[name]["valid"], linestyle=style, color="grey", label=f"{name} histogram, validation")
    axes.set(xlabel="minutes of training", ylabel="bits per sample", xlim=(0, max(minutes)))
    axes.grid(alpha=0.3)
    axes.legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    typer.run(main)
