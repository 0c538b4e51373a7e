"""Starts and resumes runs."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from slash_infer.errors import UserError
from slash_infer.signals import stop_signals
from slash_train.checkpoint import TRAINER_STATE
from slash_train.choices import names_the_box
from slash_train.config import Preset, require_resumable
from slash_train.context import Limits, TrainContext
from slash_train.corpus import Corpus
from slash_train.event_file import EventFile
from slash_train.loader import Loader
from slash_train.origin import Origin
from slash_train.run import TENSORBOARD, Inheritance, Run
from slash_train.run_lock import require_untrained, training_lock
from slash_train.run_metadata import METADATA, check_new_run
from slash_train.session import Session
from slash_train.streams import Position, PositionError, TrainingStream
from slash_train.tensor_files import RESTORE
from slash_train.trainer import Trainer

__all__ = ["Limits", "Outcome", "TrainContext", "resume", "train"]


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
    origin: Origin | None = None,
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
        origin: the weights to begin with; random ones if not given.
        force: replace an existing run at `out`.

    Raises:
        UserError: `out` exists or is being trained, corpus and preset do not fit each other, the origin's model is
            another, or training diverges.
    """
    workers = context.workers
    if workers.is_main:
        begun = [] if origin is None or names_the_box(origin.path) else [origin.path]
        check_new_run(out, [corpus.path, *begun], force=force)
        require_untrained(out)
    trainer, stream = _prepare(corpus, preset, context, origin=origin)
    inheritance = None if origin is None else _inherit(origin, trainer, stream, context)
    with ExitStack() as stack:
        if workers.is_main:
            made = Run.create(out, preset_name, preset, corpus, context.warn, inheritance=inheritance, force=force)
            stack.enter_context(made)
        trainer.saved = inheritance is not None
        inheritance = None  # its moments need as much memory as the optimiser's
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
        UserError: `out` is not a run, it is being trained, it was started on another corpus, the preset changes too
            much, the last checkpoint is damaged, or training diverges.
    """
    workers = context.workers
    _require_resumable(Run(out), corpus, preset)
    with ExitStack() as stack:
        if workers.is_main:
            stack.enter_context(training_lock(out, context.warn))
        run = Run(out)  # as it is now that no other process changes it
        _require_resumable(run, corpus, preset)
        checkpoint = None if run.checkpoints.is_empty() else run.checkpoints.find("last")
        if checkpoint is None:
            trainer, stream = _prepare(corpus, preset, context)
        else:
            checkpoint.require_configuration(preset, out / METADATA)
            state = checkpoint.trainer_state()
            try:
                trainer, stream = _prepare(corpus, preset, context, state.position)
            except PositionError as error:
                raise UserError(checkpoint.path / TRAINER_STATE, f"is damaged ({error})", RESTORE) from None
            trainer.restore(checkpoint, state)
        if workers.is_main:
            run.clear_leftovers()
            run.forget_metrics_after(trainer.step)
            run.change(preset, corpus)
        workers.wait()
        return _continue(Run(out), corpus, trainer, stream, limits, context)


def _require_resumable(run: Run, corpus: Corpus, preset: Preset) -> None:
    run.require_corpus(corpus)
    require_resumable(run.preset, preset, run.path)


def _prepare(
    corpus: Corpus,
    preset: Preset,
    context: TrainContext,
    position: Position | None = None,
    origin: Origin | None = None,
) -> tuple[Trainer, TrainingStream]:
    if corpus.sample_rate != preset.audio.sample_rate:
        raise UserError(
            corpus.path,
            f"is at {corpus.sample_rate} Hz and the preset at {preset.audio.sample_rate} Hz",
            f"prepare it again with `sample_rate` {preset.audio.sample_rate}",
        )
    trainer = Trainer(preset, context.device, context.workers, origin)
    stream = TrainingStream(corpus, preset, position, trainer.lanes)
    if context.compile_model:
        trainer.compile()
    return trainer, stream


def _inherit(origin: Origin, trainer: Trainer, stream: TrainingStream, context: TrainContext) -> Inheritance:
    """Return what a run begins with, and say what its origin had no weights for. Every worker must call this."""
    if trainer.not_inherited and context.workers.is_main:
        names = ", ".join(trainer.not_inherited)
        context.warn(f"{origin.path}: does not fit in {names}; they begin anew, and the rest is taken over")
    trainer.position = stream.position
    return Inheritance(trainer.snapshot(None), origin.ancestors)


def _continue(
    run: Run, corpus: Corpus, trainer: Trainer, stream: TrainingStream, limits: Limits, context: TrainContext
) -> Outcome:
    workers = context.workers
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals(insistent=workers.count == 1))
        loader = stack.enter_context(Loader(stream, context.device))
        board = None
        if workers.is_main:
            board = stack.enter_context(EventFile(run.path / TENSORBOARD, trainer.step + 1, context.warn))
        session = Session(run, corpus, trainer, context, board)
        stopped = session.train(loader, limits, stop)
    by = stop[0] if stop else Signals.SIGTERM  # another worker received the signal
    return Outcome(run, trainer.step, trainer.best_bits, by if stopped else None)
