"""Plots bits per sample over training time."""

from array import array
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from slash_infer.files import atomic_file
from slash_train.run import Run


def draw_learning_curve(run: Run, png: Path, baselines: Mapping[str, float] | None = None) -> None:
    """Plot a run's training and validation loss against minutes of training.

    Args:
        run: the run whose metrics to plot.
        png: the image file to write.
        baselines: scores in bits per sample to plot as horizontal lines, by name.
    """
    trained, scored = ((array("d"), array("d")) for _ in range(2))  # minutes and bits: a long run has many lines
    for metrics in run.metrics():
        for (minutes, scores), score in ((trained, metrics.train_bits), (scored, metrics.valid_bits)):
            if score is not None:
                minutes.append(metrics.seconds / 60)
                scores.append(score)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*trained, linewidth=0.6, alpha=0.6, label="training windows")
    if scored[0]:
        axes.plot(*scored, marker=".", label="validation recordings")
    for (name, bits), style in zip((baselines or {}).items(), (":", "--", "-."), strict=False):
        axes.axhline(bits, linestyle=style, color="grey", label=name)
    axes.set(xlabel="minutes of training", ylabel="bits per sample", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(png, force=True) as part:
        figure.savefig(part, format="png", dpi=100)
