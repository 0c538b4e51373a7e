"""One start or resumption of a run: takes steps, validates, logs, saves and makes previews."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT, Signals

from slash_infer.errors import UserError
from slash_train.context import Limits, TrainContext
from slash_train.corpus import Corpus
from slash_train.curve import draw_learning_curve
from slash_train.divergence import diverged
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.event_file import EventFile
from slash_train.loader import Loader
from slash_train.metrics import Metrics, write_scalars
from slash_train.run import CURVE, METRICS, PREVIEWS, Run
from slash_train.trained_model import TrainedModel
from slash_train.trainer import Trainer

EARLY_MINUTES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Of the whole run, after which there is a checkpoint besides those by steps: nobody waits long for first clips."""
LOG_EVERY = 25  # steps between lines of metrics: often enough to watch, rarely enough to cost nothing


class Session:
    """One start or resumption of a run, from its first step to its last."""

    def __init__(
        self, run: Run, corpus: Corpus, trainer: Trainer, context: TrainContext, board: EventFile | None
    ) -> None:
        self._run = run
        self._corpus = corpus
        self._trainer = trainer
        self._context = context
        self._board = board  # None in all workers but the main one
        self._unlogged: list[Metrics] = []  # which a full disk would not take
        self._early = [60 * minutes for minutes in EARLY_MINUTES]  # seconds of the run
        self._heard = 0  # the step whose previews are the newest
        self._pass_over_early()

    def train(self, loader: Loader, limits: Limits, stop: list[Signals]) -> bool:
        """Take steps until a limit is reached or a signal asks to stop; return whether a signal did."""
        trainer, workers = self._trainer, self._context.workers
        started, seconds_before = time.perf_counter(), trainer.seconds
        logged_at, logged_step = started, trainer.step
        (done,), stopped, validate = workers.most([limits.done(trainer.step, 0.0)]), False, False
        if trainer.step and (trainer.was_scored or trainer.step % trainer.recipe.checkpoint_every == 0):
            self._preview()  # missing if the process was killed between saving and making previews
        while not (done >= 1 or stopped):
            trainer.advance(loader.next(), done)
            if self._context.device.type == "cpu" or trainer.step % LOG_EVERY == 0:
                trainer.require_finite()  # waits for the device, which costs nothing on a CPU
            now = time.perf_counter()
            trainer.seconds = seconds_before + now - started
            done, signalled, early = workers.most(
                [limits.done(trainer.step, now - started), bool(stop), trainer.seconds >= self._early[0]]
            )
            stopped = signalled > 0
            validate = done >= 1 or early > 0 or trainer.step % trainer.recipe.checkpoint_every == 0
            if validate or trainer.step % LOG_EVERY == 0:
                metrics = trainer.measure(now - logged_at, trainer.step - logged_step)
                metrics = self._checkpoint(metrics) if validate else self._log(metrics)
                self._context.report(metrics, done)
                if validate:
                    self._preview()
                    trainer.seconds = seconds_before + time.perf_counter() - started
                    self._pass_over_early()
                logged_at, logged_step = time.perf_counter(), trainer.step
        if stopped and not validate:
            trainer.require_finite()
            self._save(None, best=trainer.best_bits is None)
            if SIGINT in stop and workers.count == 1 and trainer.step > self._heard + 1:
                self._context.warn(f"saved at step {trainer.step}; making its clips: Ctrl-C again leaves them out")
                self._preview()
        return stopped

    def _pass_over_early(self) -> None:
        """Drop the early checkpoints that are past, or so near that the newest one does for them."""
        self._early = [mark for mark in self._early if mark > 1.5 * self._trainer.seconds] or [math.inf]

    def _checkpoint(self, metrics: Metrics) -> Metrics:
        """Score the validation split, if there is one, then log, draw the curve and save.

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
                raise diverged(f"the validation score at step {trainer.step} is {bits}", saved=trainer.saved)
            best = trainer.best_bits is None or bits < trainer.best_bits
            if best:
                trainer.best_bits = bits
        metrics = self._log(Metrics(**{**dict(metrics), "valid_bits": bits}))
        if self._board is not None:
            with self._dispensable(CURVE):
                draw_learning_curve(self._run, self._run.path / CURVE)
        self._save(bits, best=best)
        return metrics

    def _preview(self) -> None:
        """Make the previews of the current step, unless they exist."""
        trainer, make = self._trainer, self._context.previews
        folder = self._run.path / PREVIEWS / f"step-{trainer.step:08d}"
        self._heard = trainer.step
        if self._board is not None and make is not None and not folder.exists():
            trained = TrainedModel(trainer.scored_model, self._run.preset, "in training", trainer.step, None)
            with self._dispensable(PREVIEWS):
                make(trained, self._corpus, folder, self._board)
                if folder.exists():
                    self._context.heard(folder)

    @contextmanager
    def _dispensable(self, what: str) -> Iterator[None]:
        """Go on if the body, which makes something to look at or listen to, fails for want of room or rights."""
        try:
            yield
        except (OSError, UserError) as error:
            fault = error if isinstance(error, UserError) else error.strerror
            self._context.warn(f"{self._run.path / what}: cannot be made ({fault}); training goes on without")

    def _log(self, metrics: Metrics) -> Metrics:
        """Log metrics. What a full disk does not take is kept until the next time; no checkpoint is saved before."""
        if self._board is not None:
            write_scalars(self._board, metrics)
            self._unlogged.append(metrics)
            try:
                self._flush_metrics()
            except OSError:
                return metrics  # raised before the next checkpoint if it lasts
        return metrics

    def _flush_metrics(self) -> None:
        if self._unlogged:
            self._run.log(*self._unlogged)
            self._unlogged.clear()

    def _save(self, bits: float | None, *, best: bool) -> None:
        recipe, workers = self._trainer.recipe, self._context.workers
        snapshot = self._trainer.snapshot(bits)
        if workers.is_main:
            try:
                self._flush_metrics()
            except OSError as error:
                fault = f"cannot be written ({error.strerror})"
                raise UserError(self._run.path / METRICS, fault, "make room and go on with `resume`") from None
            self._run.checkpoints.save(snapshot, best=best, keep=recipe.keep, every=recipe.checkpoint_every)
        self._trainer.saved = True
        workers.wait()
