"""The training loop: starts and resumes runs, takes steps, validates, logs, saves and makes previews."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import torch
from torch.utils.tensorboard import SummaryWriter

from slash_infer.errors import UserError
from slash_infer.files import check_directory_output
from slash_infer.signals import stop_signals
from slash_train.config import Preset, require_resumable
from slash_train.corpus import Corpus
from slash_train.curve import draw_learning_curve
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.loader import Loader
from slash_train.metrics import Metrics, write_scalars
from slash_train.run import CURVE, MADE_BY, METADATA, PREVIEWS, TENSORBOARD, Run
from slash_train.streams import Position, TrainingStream
from slash_train.trained_model import TrainedModel
from slash_train.trainer import Trainer
from slash_train.workers import Workers

LOG_EVERY = 25  # steps between lines of metrics: often enough to watch, rarely enough to cost nothing


@dataclass(frozen=True)
class Limits:
    """When to stop: at `steps` steps of the whole run, or after `minutes` of this start or resumption."""

    steps: float = math.inf
    minutes: float = math.inf

    def done(self, step: int, seconds: float) -> float:
        """Return the fraction of the work that is done; 1 or more means stop."""
        return max(step / self.steps, seconds / (self.minutes * 60))


Report = Callable[[Metrics, float, int], None]
"""Called with the newest metrics, the fraction of the work done, and the number of the epoch, from 0."""

MakePreviews = Callable[[TrainedModel, Path, SummaryWriter], None]
"""Called at each checkpoint with the model, the folder to make, and TensorBoard."""


@dataclass(frozen=True)
class TrainContext:
    """Where a run trains, and what observes it."""

    device: torch.device
    workers: Workers = Workers()  # noqa: RUF009  # a single worker is stateless
    previews: MakePreviews | None = None
    """Makes clips at checkpoints; None for no clips."""
    report: Report = lambda *_: None
    compile_model: bool = False
    """Whether to compile the sample tier, the part that consists of many small operations."""


@dataclass(frozen=True)
class Outcome:
    """How a start or resumption of a run ended."""

    run: Run
    step: int
    best_bits: float | None
    """Bits per sample of the best checkpoint on the validation split; None without a validation split."""
    stopped_by: Signals | None
    """The signal that ended training early, if one did."""


def train(
    corpus: Corpus,
    out: Path,
    preset_name: str,
    preset: Preset,
    *,
    limits: Limits,
    context: TrainContext,
    force: bool = False,
) -> Outcome:
    """Start a new run in the directory `out`, which is made only after all checks have passed.

    Args:
        corpus: the corpus to train on.
        out: the directory to make.
        preset_name: the preset's name, for the record.
        preset: the configuration.
        limits: when to stop.
        context: where to train.
        force: replace an existing run at `out`.

    Raises:
        UserError: `out` exists, corpus and preset do not fit each other, or training diverges.
    """
    workers = context.workers
    if workers.is_main:
        check_directory_output(out, force=force, metadata=METADATA, made_by=MADE_BY, inputs=[corpus.path])
    trainer, stream = _prepare(corpus, preset, context)
    if workers.is_main:
        Run.create(out, preset_name, preset, corpus, force=force)
    workers.wait()
    return _continue(Run(out), corpus, trainer, stream, limits, context)


def resume(corpus: Corpus, out: Path, *, preset: Preset, limits: Limits, context: TrainContext) -> Outcome:
    """Continue the run in `out` from its last checkpoint, as if it had not stopped.

    Args:
        corpus: the corpus the run was started on.
        out: the run.
        preset: the run's own, with no other changes than those that a run allows.
        limits: when to stop.
        context: where to train. The number of workers may differ from before.

    Raises:
        UserError: `out` is not a run, it was started on another corpus, the preset changes too much, or training
            diverges.
    """
    run = Run(out)
    if run.metadata.get("corpus_sha256") != corpus.fingerprint():
        raise UserError(corpus.path, "is not the corpus the run was started on", f"use {run.metadata.get('corpus')}")
    require_resumable(run.preset, preset, out)
    checkpoint = None if run.checkpoints.is_empty() else run.checkpoints.find("last")
    trainer_state = checkpoint.trainer_state() if checkpoint else None
    trainer, stream = _prepare(corpus, preset, context, trainer_state.position if trainer_state else None)
    if checkpoint and trainer_state:
        trainer.restore(checkpoint, trainer_state)
    if context.workers.is_main:
        run.clear_leftovers()
        run.forget_metrics_after(trainer.step)
        run.change(preset)
    context.workers.wait()
    return _continue(Run(out), corpus, trainer, stream, limits, context)


def _prepare(
    corpus: Corpus, preset: Preset, context: TrainContext, position: Position | None = None
) -> tuple[Trainer, TrainingStream]:
    if corpus.sample_rate != preset.audio.sample_rate:
        raise UserError(
            corpus.path,
            f"is at {corpus.sample_rate} Hz and the preset at {preset.audio.sample_rate} Hz",
            f"prepare it again with `sample_rate` {preset.audio.sample_rate}",
        )
    trainer = Trainer(preset, context.device, context.workers)
    stream = TrainingStream(corpus, preset, position, trainer.lanes)
    if context.compile_model and trainer.model.sample_tier is not None:
        trainer.model.sample_tier.compile()
    return trainer, stream


def _continue(
    run: Run, corpus: Corpus, trainer: Trainer, stream: TrainingStream, limits: Limits, context: TrainContext
) -> Outcome:
    workers = context.workers
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals(insistent=workers.count == 1))
        loader = stack.enter_context(Loader(stream, context.device))
        board = None
        if workers.is_main:
            board = stack.enter_context(SummaryWriter(str(run.path / TENSORBOARD), purge_step=trainer.step + 1))
        session = _Session(run, corpus, trainer, context, board)
        stopped = session.train(loader, limits, stop)
    by = stop[0] if stop else Signals.SIGTERM  # another worker received the signal
    return Outcome(run, trainer.step, trainer.best_bits, by if stopped else None)


class _Session:
    """One start or resumption of a run, from its first step to its last."""

    def __init__(
        self, run: Run, corpus: Corpus, trainer: Trainer, context: TrainContext, board: SummaryWriter | None
    ) -> None:
        self._run = run
        self._corpus = corpus
        self._trainer = trainer
        self._context = context
        self._board = board  # None in all workers but the main one

    def train(self, loader: Loader, limits: Limits, stop: list[Signals]) -> bool:
        """Take steps until a limit is reached or a signal asks to stop; return whether a signal did."""
        trainer, workers = self._trainer, self._context.workers
        started, seconds_before = time.perf_counter(), trainer.seconds
        logged_at, logged_step = started, trainer.step
        finished, stopped, validate = limits.done(trainer.step, 0.0) >= 1, False, False
        if trainer.step and trainer.step % trainer.recipe.checkpoint_every == 0:
            self._preview()  # missing if the process was killed between saving and making previews
        while not (finished or stopped):
            trainer.advance(loader.next())
            if self._context.device.type == "cpu" or trainer.step % LOG_EVERY == 0:
                trainer.require_finite()  # waits for the device, which costs nothing on a CPU
            now = time.perf_counter()
            trainer.seconds = seconds_before + now - started
            done = limits.done(trainer.step, now - started)
            finished, stopped = workers.any([done >= 1, bool(stop)])
            validate = finished or trainer.step % trainer.recipe.checkpoint_every == 0
            if validate or trainer.step % LOG_EVERY == 0:
                metrics = trainer.measure(now - logged_at, trainer.step - logged_step)
                metrics = self._checkpoint(metrics) if validate else self._log(metrics)
                self._context.report(metrics, done, trainer.epoch)
                logged_at, logged_step = time.perf_counter(), trainer.step
        if stopped and not validate:
            trainer.require_finite()
            self._save(None, best=False)
        return stopped

    def _checkpoint(self, metrics: Metrics) -> Metrics:
        """Score the validation split, if there is one, then log, save and make previews.

        On resuming, a process killed before it has saved repeats all of this; one killed later, only the previews.
        """
        trainer, bits = self._trainer, None
        best = True  # without a validation split, the last checkpoint counts as the best
        if self._corpus.length("valid"):
            bits = bits_per_sample(
                ModelScorer(trainer.scored_model, self._run.preset.audio.codec),
                self._corpus,
                "valid",
                at_most_seconds=trainer.recipe.valid_seconds,
                workers=self._context.workers,
            )
            if not math.isfinite(bits):
                raise UserError(
                    "training diverged",
                    f"the validation score at step {trainer.step} is {bits}",
                    "start a new run with a lower training.learning_rate",
                )
            best = trainer.best_bits is None or bits < trainer.best_bits
            if best:
                trainer.best_bits = bits
        metrics = self._log(Metrics(**{**dict(metrics), "valid_bits": bits}))
        if self._board is not None:
            draw_learning_curve(self._run, self._run.path / CURVE)
        self._save(bits, best=best)
        self._preview()
        return metrics

    def _preview(self) -> None:
        """Make the previews of the current step, unless they exist."""
        trainer, make = self._trainer, self._context.previews
        folder = self._run.path / PREVIEWS / f"step-{trainer.step:08d}"
        if self._board is not None and make is not None and not folder.exists():
            trained = TrainedModel(trainer.scored_model, self._run.preset, "in training", trainer.step, None)
            make(trained, folder, self._board)

    def _log(self, metrics: Metrics) -> Metrics:
        if self._board is not None:
            self._run.log(metrics)
            write_scalars(self._board, metrics)
        return metrics

    def _save(self, bits: float | None, *, best: bool) -> None:
        recipe, workers = self._trainer.recipe, self._context.workers
        snapshot = self._trainer.snapshot(bits)
        if workers.is_main:
            self._run.checkpoints.save(snapshot, best=best, keep=recipe.keep, every=recipe.checkpoint_every)
        workers.wait()
