"""Training on the command line: the processes, the progress line, and previews where they can be made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slash_cli.console import duration, optional_packages, progress_bar, stderr, stdout
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from rich.progress import Progress, TaskID

    from slash_train.context import MakePreviews, TrainContext
    from slash_train.loop import Outcome
    from slash_train.metrics import Metrics

LONGEST_MINUTES = 1e6  # two years


@contextmanager
def training_context(
    device: "torch.device", *, previews: bool, compile_model: bool = False
) -> Iterator["TrainContext"]:
    """Yield the context that a run trains in, with its progress shown while the body runs.

    Args:
        device: where it trains.
        previews: whether clips are wanted at checkpoints.
        compile_model: whether to compile the sample tier.
    """
    from rich.progress import TextColumn

    from slash_train.devices import limits_explained
    from slash_train.loop import TrainContext
    from slash_train.workers import join_workers

    make_previews = _find_previews() if previews else None
    # At most 64 columns, and no bar for that: a terminal that is made narrower wraps longer lines, and keeps parts.
    column = TextColumn("training {task.percentage:.0f}%  {task.description}", markup=False)
    with limits_explained(), join_workers(device) as workers, progress_bar(column) as progress:
        report = ProgressReport(progress, progress.add_task("", total=1.0)) if workers.is_main else _silent

        def warn(message: str) -> None:
            progress.console.print(f"slash: {message}")

        def heard(folder: "Path") -> None:
            progress.console.print(f"hear it: {folder}")

        yield TrainContext(device, workers, make_previews, report, heard, warn, compile_model=compile_model)


def print_outcome(outcome: "Outcome") -> None:
    """Print how far a run is, and how good."""
    bits = outcome.best_bits
    best = "" if bits is None else f", best {bits:.3f} bits/sample on held-out recordings"
    if outcome.stopped_by is None:
        stdout().print(f"{outcome.run.path}: {outcome.step} steps{best}")
    else:
        stdout().print(f"{outcome.run.path}: saved at step {outcome.step}{best}")


def _find_previews() -> "MakePreviews | None":
    """Return what generates clips at checkpoints, or say what to install for it."""
    try:
        with optional_packages("hearing the run at its checkpoints"):
            from slash_export.previews import make_previews
    except UserError as error:
        stderr().print(f"slash: {error}; training without")
        return None
    return make_previews


def _silent(_metrics: "Metrics", _done: float) -> None:
    """Report nothing: of several workers, only the main one reports."""


class ProgressReport:
    """Shows the newest metrics in the progress line, and prints a line at each validation."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self._first: tuple[float, float] | None = None  # fraction done and seconds at the first report, for the ETA

    def __call__(self, metrics: "Metrics", done: float) -> None:
        """Take one line of metrics; `done` is the fraction of the work."""
        if self._first is None:
            self._first = done, metrics.seconds
            eta = ""
        else:
            first_done, first_seconds = self._first
            pace = (metrics.seconds - first_seconds) / max(done - first_done, 1e-9)
            eta = f"{duration(max(0.0, 1 - done) * pace)} left  "
        facts = f"{eta}{metrics.train_bits:.3f} bits  {metrics.samples_per_second:,.0f} samples/s"
        self._progress.update(self._task, completed=min(done, 1.0), description=facts)
        if metrics.valid_bits is not None:
            self._progress.console.print(
                f"step {metrics.step:>7}  train {metrics.train_bits:.3f}  valid {metrics.valid_bits:.3f} bits/sample"
                f"  {metrics.samples_per_second:,.0f} samples/s  {duration(metrics.seconds)}"
            )
