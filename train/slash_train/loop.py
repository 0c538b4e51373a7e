"""The training loop: starts and resumes runs, validates, listens, logs and saves."""

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
from slash_train.model import SampleRNN
from slash_train.run import CURVE, MADE_BY, PAGE, SAMPLES, TENSORBOARD, Run
from slash_train.streams import Position, TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

LOG_EVERY = 25  # steps between lines of metrics: often enough to watch, rarely enough to cost nothing


@dataclass(frozen=True)
class Limits:
    """When to stop: at `steps` steps of the whole run, or after `minutes` of this start or resumption."""

    steps: float = math.inf
    minutes: float = math.inf

    def done(self, step: int, seconds: float) -> float:
        """The fraction of the work that is done, 1 or more when it is time to stop."""
        return max(step / self.steps, seconds / (self.minutes * 60))


Report = Callable[[Metrics, float, int], None]
"""Called with the newest metrics, the fraction of the work done, and the data's epoch."""

Listen = Callable[[SampleRNN, Preset, int, Path, SummaryWriter], None]
"""Called at each checkpoint with the model, its configuration, the step, a folder to make, and TensorBoard."""


@dataclass(frozen=True)
class TrainContext:
    """Where a run trains, and what watches it."""

    device: torch.device
    workers: Workers = Workers()  # noqa: RUF009  # has no state of its own
    listen: Listen | None = None
    report: Report = lambda *_: None
    compile_model: bool = False
    """Whether to compile the sample tier, the part that is many small operations."""


@dataclass(frozen=True)
class Outcome:
    """How a session of training ended."""

    run: Run
    step: int
    best_bits: float | None
    """Bits per sample of the best checkpoint on the validation split; None without one."""
    stopped_by: Signals | None
    """The signal that ended it early, if one did."""


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
    """Start a new run in the directory `out`. Everything that can be refused is refused before it is made.

    Raises:
        UserError: `out` exists, or corpus and preset do not fit each other.
    """
    workers = context.workers
    if workers.is_main:
        check_directory_output(out, force=force, metadata=PAGE, made_by=MADE_BY, inputs=[corpus.path])
    training, stream = _prepare(corpus, preset, context)
    if workers.is_main:
        Run.create(out, preset_name, preset, corpus)
    workers.wait()
    return _continue(Run(out), corpus, training, stream, limits, context)


def resume(corpus: Corpus, out: Path, *, preset: Preset, limits: Limits, context: TrainContext) -> Outcome:
    """Go on with the run in `out` from its last checkpoint, as if it had not stopped.

    Args:
        corpus: the one the run was started on.
        out: the run.
        preset: the run's own, or one that changes what may be changed in a run.
        limits: when to stop.
        context: where to train. The number of workers may differ from before.

    Raises:
        UserError: `out` is not a run, or was started on another corpus or with another model.
    """
    run = Run(out)
    if run.page.get("corpus_sha256") != corpus.fingerprint():
        raise UserError(corpus.path, "is not the corpus the run was started on", f"use {run.page.get('corpus')}")
    require_resumable(run.preset, preset, out)
    checkpoint = None if run.checkpoints.is_empty() else run.checkpoints.find("last")
    progress = checkpoint.progress() if checkpoint else None
    training, stream = _prepare(corpus, preset, context, progress.position if progress else None)
    if checkpoint and progress:
        training.restore(checkpoint, progress)
    if context.workers.is_main:
        run.clear_leftovers()
        run.forget_metrics_after(training.step)
        run.change(preset)
    context.workers.wait()
    return _continue(Run(out), corpus, training, stream, limits, context)


def _prepare(
    corpus: Corpus, preset: Preset, context: TrainContext, position: Position | None = None
) -> tuple[Trainer, TrainingStream]:
    if corpus.sample_rate != preset.audio.sample_rate:
        raise UserError(
            corpus.path,
            f"is at {corpus.sample_rate} Hz and the preset at {preset.audio.sample_rate} Hz",
            f"prepare it again with `sample_rate` {preset.audio.sample_rate}",
        )
    training = Trainer(preset, context.device, context.workers)
    stream = TrainingStream(corpus, preset, position, training.lanes)
    if context.compile_model and training.model.sample_tier is not None:
        training.model.sample_tier.compile()
    return training, stream


def _continue(
    run: Run, corpus: Corpus, training: Trainer, stream: TrainingStream, limits: Limits, context: TrainContext
) -> Outcome:
    workers = context.workers
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals(insistent=workers.count == 1))
        loader = stack.enter_context(Loader(stream, context.device))
        board = None
        if workers.is_main:
            board = stack.enter_context(SummaryWriter(str(run.path / TENSORBOARD), purge_step=training.step + 1))
        session = _Session(run, corpus, training, context, board)
        stopped = session.train(loader, limits, stop)
    by = stop[0] if stop else Signals.SIGTERM  # where another worker had the signal
    return Outcome(run, training.step, training.best_bits, by if stopped else None)


class _Session:
    """One start or resumption of a run, from its first step to its last."""

    def __init__(
        self, run: Run, corpus: Corpus, training: Trainer, context: TrainContext, board: SummaryWriter | None
    ) -> None:
        self._run = run
        self._corpus = corpus
        self._training = training
        self._context = context
        self._board = board  # in the main worker alone

    def train(self, loader: Loader, limits: Limits, stop: list[Signals]) -> bool:
        """Take steps until the limits are reached or a signal asks to stop; return whether one did."""
        training, workers = self._training, self._context.workers
        begun, seconds_before = time.perf_counter(), training.seconds
        logged_at, logged_step = begun, training.step
        finished, stopped, validate = limits.done(training.step, 0.0) >= 1, False, False
        if training.step and training.step % training.recipe.checkpoint_every == 0:
            self.listen()  # had the process that saved this checkpoint not been killed, it would have
        while not (finished or stopped):
            training.advance(loader.next())
            if self._context.device.type == "cpu" or training.step % LOG_EVERY == 0:
                training.require_finite()  # waits for the device, which on a CPU has nothing left to do
            now = time.perf_counter()
            training.seconds = seconds_before + now - begun
            done = limits.done(training.step, now - begun)
            finished, stopped = workers.any([done >= 1, bool(stop)])
            validate = finished or training.step % training.recipe.checkpoint_every == 0
            if validate or training.step % LOG_EVERY == 0:
                metrics = training.measure(now - logged_at, training.step - logged_step)
                metrics = self._checkpoint(metrics) if validate else self._log(metrics)
                self._context.report(metrics, done, training.epoch)
                logged_at, logged_step = time.perf_counter(), training.step
        if stopped and not validate:
            training.require_finite()
            self._save(None, best=False)
        return stopped

    def _checkpoint(self, metrics: Metrics) -> Metrics:
        """Score the validation split, where there is one, log, save, and listen.

        A process killed before it has saved does all of it again on resuming, one killed later only listens.
        """
        training, bits = self._training, None
        best = True  # with nothing to compare by, the last is the best known
        if self._corpus.length("valid"):
            bits = bits_per_sample(
                ModelScorer(training.scored_model, self._run.preset.audio.codec),
                self._corpus,
                "valid",
                at_most_seconds=training.recipe.valid_seconds,
                workers=self._context.workers,
            )
            if not math.isfinite(bits):
                raise UserError(
                    "training diverged",
                    f"the validation score at step {training.step} is {bits}",
                    "start a new run with a lower training.learning_rate",
                )
            best = training.best_bits is None or bits < training.best_bits
            if best:
                training.best_bits = bits
        metrics = self._log(metrics.model_copy(update={"valid_bits": bits}))
        if self._board is not None:
            draw_learning_curve(self._run, self._run.path / CURVE)
        self._save(bits, best=best)
        self.listen()
        return metrics

    def listen(self) -> None:
        """Make the clips of the newest checkpoint, unless they are there."""
        training, listen = self._training, self._context.listen
        folder = self._run.path / SAMPLES / f"step-{training.step:08d}"
        if self._board is not None and listen is not None and not folder.exists():
            listen(training.scored_model, self._run.preset, training.step, folder, self._board)

    def _log(self, metrics: Metrics) -> Metrics:
        if self._board is not None:
            self._run.log(metrics)
            write_scalars(self._board, metrics)
        return metrics

    def _save(self, bits: float | None, *, best: bool) -> None:
        training = self._training
        state = self._context.workers.gather(training.state)
        progress = training.progress(bits)
        if self._context.workers.is_main:
            self._run.checkpoints.save(
                training.model,
                training.ema_decay.model if training.ema_decay else None,
                training.optimiser,
                state,
                progress,
                best=best,
                keep=training.recipe.keep,
                every=training.recipe.checkpoint_every,
            )
        self._context.workers.wait()
