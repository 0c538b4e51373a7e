"""`slash train`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, progress_bar, stderr, stdout
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from slash_train.loop import MakePreviews
    from slash_train.metrics import Metrics

DEFAULT_PRESET = "slash"


def train(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A folder made by slash prepare.")],
    out: Annotated[Path, typer.Option(help="The run to make, a folder; with --resume, the run to go on with.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Model and recipe. live: two CPU cores, half an hour. slash (the default): a GPU, a day. "
            "studio: the same at 44.1 kHz. paper-2tier, paper-3tier: the paper's. window-rnn, frame-rnn: what "
            "SampleRNN improves on. demo, tiny: first tries.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the preset; may be repeated."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop when the run has this many steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Stop after this many minutes.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run from its last checkpoint.")] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Checkpoints to keep besides the best and the last, spread over the run: 5."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the products: fp32, or bf16, which suits recent GPUs.")
    ] = None,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the sample tier with torch.compile first.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
) -> None:
    """Train a SampleRNN on a corpus.

    Ctrl-C finishes the step, saves and stops; --resume goes on exactly there, also after a crash. At each
    checkpoint, RUN/previews gets the same clips as they sound by then, and RUN/learning_curve.png is drawn.
    docs/training.md says which preset, how long, and what loss is good.

    \b
    slash train corpus --out run --preset live --minutes 30
    slash train corpus --out run --resume --minutes 60
    slash train corpus --out run --resume --set training.learning_rate=5e-4
    slash train corpus --out run --set training.batch_size=32 --set model.width=512
    torchrun --nproc-per-node 4 -m slash_cli train corpus --out run --precision bf16
    tensorboard --logdir run
    """
    with optional_packages("train"):
        from slash_train import loop
        from slash_train.config import change_preset, load_preset, require_resumable
        from slash_train.corpus import Corpus
        from slash_train.devices import choose_device, limits_explained
        from slash_train.run import Run
        from slash_train.workers import join_workers
    from rich.progress import BarColumn, TextColumn

    if resume and force:
        raise UserError("--resume", "goes on with the run as it is, so it does not take --force")
    changes = [*(overrides or ())]
    changes += [f"training.keep={keep}"] * (keep is not None)
    changes += [f"training.precision={precision}"] * (precision is not None)
    if resume:
        begun = Run(out).preset
        if preset is not None:
            require_resumable(begun, load_preset(preset, changes), out)
        configuration = change_preset(begun, changes)
    else:
        new = [] if steps is None else [f"training.steps={steps}"]
        configuration = load_preset(preset or DEFAULT_PRESET, [*changes, *new])
    if steps is None and minutes is None:
        steps = configuration.training.steps
    limits = loop.Limits(steps or math.inf, minutes or math.inf)
    opened, place = Corpus(corpus), choose_device(device)
    if place.type == "cpu" and preset is None and not resume:
        stderr().print(f"slash: preset {DEFAULT_PRESET} is for a GPU; without one, --preset live learns in minutes")
    listen = _listen() if configuration.training.preview_clips else None
    description = TextColumn("{task.percentage:.0f}%  {task.description}", markup=False)
    columns = (TextColumn("training"), BarColumn(), description)
    with limits_explained(), join_workers(place) as workers, progress_bar(*columns) as progress:
        report = _Report(progress, progress.add_task("", total=1.0)) if workers.is_main else _silent
        context = loop.TrainContext(place, workers, listen, report, compile_model=compile_model)
        if resume:
            outcome = loop.resume(opened, out, preset=configuration, limits=limits, context=context)
        else:
            name = preset or DEFAULT_PRESET
            outcome = loop.train(opened, out, name, configuration, limits=limits, context=context, force=force)
    best = "" if outcome.best_bits is None else f", best {outcome.best_bits:.3f} bits/sample on held-out recordings"
    if outcome.stopped_by is not None:
        if workers.is_main:
            stdout().print(f"{out}: saved at step {outcome.step}{best}; go on with --resume")
        raise typer.Exit(128 + outcome.stopped_by)
    if workers.is_main:
        stdout().print(f"{out}: {outcome.step} steps{best}")


def _listen() -> "MakePreviews | None":
    """Return what makes clips at checkpoints, or say what to install for it."""
    try:
        with optional_packages("hearing the run at its checkpoints"):
            from slash_export.previews import make_previews
    except UserError as error:
        stderr().print(f"slash: {error}; training without")
        return None
    return make_previews


def _silent(_metrics: "Metrics", _done: float, _epoch: int) -> None:
    """Report nothing: one of several workers does."""


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
