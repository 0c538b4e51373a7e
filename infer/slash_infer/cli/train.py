"""`slash train`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_infer.cli.console import duration, optional_packages, progress_bar, stdout
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from slash_train.metrics import Metrics


def train(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A folder made by slash prepare.")],
    out: Annotated[Path, typer.Option(help="The run to make, a folder.")],
    preset: Annotated[str, typer.Option(help="Model and recipe: slash, live, demo or tiny.")] = "slash",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the preset.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop when the run has this many steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Stop after this many minutes.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run from its last checkpoint.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
) -> None:
    """Train a SampleRNN on a corpus. Ctrl-C saves and stops; --resume goes on.

    \b
    slash train corpus --out run --preset live --minutes 30
    slash train corpus --out run --resume --minutes 60
    slash train corpus --out run --set training.batch_size=32 --set model.width=512
    tensorboard --logdir run
    """
    with optional_packages("train"):
        from slash_train import loop
        from slash_train.config import load_preset
        from slash_train.corpus import Corpus
        from slash_train.run import Run, choose_device
    from rich.progress import BarColumn, TextColumn

    if resume and (overrides or force):
        raise UserError("--resume: goes on with the run as it is, so it takes neither --set nor --force")
    configuration = Run(out).preset if resume else load_preset(preset, overrides or ())
    if steps is None:
        steps = configuration.training.steps if minutes is None else 2**62
    limits = loop.Limits(steps, math.inf if minutes is None else minutes)
    opened, place = Corpus(corpus), choose_device(device)
    description = TextColumn("{task.percentage:.0f}%  {task.description}", markup=False)
    columns = (
        TextColumn("training"),
        BarColumn(),
        description,
    )
    with progress_bar(*columns) as progress:
        report = _Report(progress, progress.add_task("", total=1.0))
        if resume:
            outcome = loop.resume(opened, out, limits=limits, device=place, report=report)
        else:
            outcome = loop.train(
                opened, out, preset, configuration, limits=limits, device=place, force=force, report=report
            )
    best = "" if outcome.best_bits is None else f", best {outcome.best_bits:.3f} bits/sample on held-out recordings"
    if outcome.stopped_by is not None:
        stdout().print(f"{out}: saved at step {outcome.step}{best}; go on with --resume")
        raise typer.Exit(128 + outcome.stopped_by)
    stdout().print(f"{out}: {outcome.step} steps{best}")


class _Report:
    """Shows the newest metrics in the progress line, and prints a line at each validation."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self._before: float | None = None  # fraction done and seconds at the first report: for the ETA
        self._seconds = 0.0

    def __call__(self, metrics: "Metrics", done: float, epoch: int) -> None:
        """Take one line of metrics; `done` is the fraction of the work, `epoch` counts from 0."""
        if self._before is None:
            self._before, self._seconds = done, metrics.seconds
            eta = ""
        else:
            pace = (metrics.seconds - self._seconds) / max(done - self._before, 1e-9)
            eta = f"  {duration(max(0.0, 1 - done) * pace)} left"
        facts = (
            f"step {metrics.step}  epoch {epoch + 1}  {metrics.train_bits:.3f} bits/sample  "
            f"{metrics.samples_per_second:,.0f} samples/s"
        )
        self._progress.update(self._task, completed=min(done, 1.0), description=facts + eta)
        if metrics.valid_bits is not None:
            self._progress.console.print(
                f"step {metrics.step:>7}  train {metrics.train_bits:.3f}  valid {metrics.valid_bits:.3f} bits/sample"
                f"  {metrics.samples_per_second:,.0f} samples/s  {duration(metrics.seconds)}"
            )
