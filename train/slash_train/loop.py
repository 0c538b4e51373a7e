"""The training loop: truncated BPTT with carried state, Adam, clipping, validation and checkpoints."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from slash_infer.errors import UserError
from slash_infer.files import check_directory_output
from slash_train.checkpoint import Progress
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.evaluate import bits_per_sample
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN, State
from slash_train.run import MADE_BY, PAGE, TENSORBOARD, Run
from slash_train.streams import NO_TARGET, Position, TrainingStream, Window

LOG_EVERY = 25  # steps between lines of metrics: often enough to watch, rarely enough to cost nothing


@dataclass(frozen=True)
class Limits:
    """When to stop: at `steps` steps of the whole run, or after `minutes` of this start or resumption."""

    steps: int
    minutes: float = math.inf

    def done(self, step: int, seconds: float) -> float:
        """The fraction of the work that is done, 1 or more when it is time to stop."""
        return max(step / self.steps, seconds / (self.minutes * 60))


Report = Callable[[Metrics, float, int], None]
"""Called with the newest metrics, the fraction of the work done, and the data's epoch."""


@dataclass(frozen=True)
class Outcome:
    """How a session of training ended."""

    run: Run
    step: int
    best_bits: float | None
    """Bits per sample of the best checkpoint on the validation split; None without one."""
    stopped_by: signal.Signals | None
    """The signal that ended it early, if one did."""


@dataclass
class Training:
    """Everything that changes as a run goes on."""

    model: SampleRNN
    optimiser: torch.optim.Adam
    stream: TrainingStream
    state: State
    step: int = 0
    seconds: float = 0.0
    best_bits: float | None = None
    _nats: list[torch.Tensor] = field(default_factory=list)
    _norm: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def advance(self, clip_norm: float) -> None:
        """Do one step of optimisation on the next window."""
        loss, self.state = window_loss(self.model, self.stream.next(), self.state)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm)
        self.optimiser.step()
        self._nats.append(loss.detach())
        self.step += 1

    def measure(self, samples_per_step: int, seconds: float) -> Metrics:
        """Average the steps since the last measure, which took `seconds`.

        Raises:
            UserError: the loss is not finite: training has diverged.
        """
        bits = torch.stack(self._nats).mean().item() / math.log(2)
        norm = self._norm.item()
        steps = len(self._nats)
        self._nats.clear()
        self.require_finite("loss", bits)
        self.require_finite("gradient", norm)
        return Metrics(
            step=self.step,
            samples=self.step * samples_per_step,
            seconds=self.seconds,
            train_bits=bits,
            samples_per_second=steps * samples_per_step / seconds,
            gradient_norm=norm,
        )

    def require_finite(self, name: str, value: float) -> None:
        """Stop a run that has diverged, before anything of it is saved."""
        if not math.isfinite(value):
            raise UserError(
                f"training diverged: the {name} at step {self.step} is {value}; "
                "start a new run with a lower training.learning_rate"
            )

    def progress(self, valid_bits: float | None = None) -> Progress:
        """Return the JSON half of a checkpoint; `valid_bits` is its score, where it was scored."""
        return Progress(
            step=self.step,
            seconds=self.seconds,
            best_bits=self.best_bits,
            valid_bits=valid_bits,
            position=self.stream.position,
        )


def window_loss(model: SampleRNN, window: Window, state: State) -> tuple[torch.Tensor, State]:
    """Mean negative log-likelihood, in nats, of a window's targets.

    Returns:
        the loss, and the state to carry on, detached.
    """
    device = next(model.parameters()).device
    codes, targets, starting = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (window.codes, window.targets, window.starting)
    )
    logits, state = model(codes, model.restart(state, starting))
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)
    return loss, [(h.detach(), c.detach()) for h, c in state]


def train(
    corpus: Corpus,
    out: Path,
    preset_name: str,
    preset: Preset,
    *,
    limits: Limits,
    device: torch.device,
    force: bool = False,
    report: Report = lambda *_: None,
) -> Outcome:
    """Start a new run in the directory `out`. Everything that can be refused is refused before it is made.

    Raises:
        UserError: `out` exists, or corpus and preset do not fit each other.
    """
    check_directory_output(out, force=force, page=PAGE, made_by=MADE_BY, inputs=[corpus.path])
    training = _start(corpus, preset, device)
    run = Run.create(out, preset_name, preset, corpus)
    return _continue(run, corpus, training, limits, report)


def resume(
    corpus: Corpus, out: Path, *, limits: Limits, device: torch.device, report: Report = lambda *_: None
) -> Outcome:
    """Go on with the run in `out` from its last checkpoint, as if it had not stopped.

    Raises:
        UserError: `out` is not a run, or has no checkpoint.
    """
    run = Run(out)
    checkpoint = run.checkpoints.find("last")
    progress = checkpoint.progress()
    if run.page.get("corpus_sha256") != corpus.fingerprint():
        raise UserError(f"{corpus.path}: is not the corpus the run was started on; use {run.page.get('corpus')}")
    training = _start(corpus, run.preset, device, progress.position)
    checkpoint.load_weights(training.model)
    checkpoint.load_optimiser(training.model, training.optimiser)
    training.state = checkpoint.load_state(training.model, device)
    training.step, training.seconds = progress.step, progress.seconds
    training.best_bits = progress.best_bits
    run.forget_metrics_after(training.step)
    return _continue(run, corpus, training, limits, report)


def _start(corpus: Corpus, preset: Preset, device: torch.device, position: Position | None = None) -> Training:
    if corpus.sample_rate != preset.audio.sample_rate:
        raise UserError(
            f"{corpus.path}: is at {corpus.sample_rate} Hz and the preset at {preset.audio.sample_rate} Hz; "
            f"prepare it again with --sample-rate {preset.audio.sample_rate}"
        )
    stream = TrainingStream(corpus, preset, position)
    torch.manual_seed(preset.training.seed)
    model = SampleRNN(preset.model, preset.audio.codec.levels).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=preset.training.learning_rate)
    with torch.no_grad():
        state = [(h.clone(), c.clone()) for h, c in model.initial_state(preset.training.batch_size)]
    return Training(model, optimiser, stream, state)


def _continue(run: Run, corpus: Corpus, training: Training, limits: Limits, report: Report) -> Outcome:
    recipe = run.preset.training
    samples_per_step = recipe.batch_size * recipe.window
    session_start, seconds_before = time.perf_counter(), training.seconds
    log_start = session_start
    done, saved = limits.done(training.step, 0.0), training.step
    with (
        _stop_signals() as stop,
        SummaryWriter(str(run.path / TENSORBOARD), purge_step=training.step + 1) as board,
    ):
        while done < 1 and not stop:
            training.advance(recipe.clip_norm)
            now = time.perf_counter()
            training.seconds = seconds_before + now - session_start
            done = limits.done(training.step, now - session_start)
            validate = done >= 1 or training.step % recipe.checkpoint_every == 0
            if not validate and training.step % LOG_EVERY:
                continue
            metrics = training.measure(samples_per_step, now - log_start)
            if validate:
                metrics = _validate_and_save(run, corpus, training, metrics)
                saved = training.step
            run.log(metrics)
            _write_scalars(board, metrics)
            report(metrics, done, training.stream.position.epoch)
            log_start = time.perf_counter()
        if training.step > saved:  # a signal came in between
            if training.step % LOG_EVERY:
                run.log(training.measure(samples_per_step, time.perf_counter() - log_start))
            run.checkpoints.save(training.model, training.optimiser, training.state, training.progress(), best=False)
    return Outcome(run, training.step, training.best_bits, stop[0] if stop else None)


def _validate_and_save(run: Run, corpus: Corpus, training: Training, metrics: Metrics) -> Metrics:
    """Score the validation split, where there is one, and save a checkpoint."""
    bits = None
    best = True  # with nothing to compare by, the last is the best known
    if corpus.length("valid"):
        at_most = run.preset.training.valid_seconds
        bits = bits_per_sample(training.model, run.preset, corpus, "valid", at_most_seconds=at_most)
        training.require_finite("validation score", bits)
        best = training.best_bits is None or bits < training.best_bits
        if best:
            training.best_bits = bits
    run.checkpoints.save(training.model, training.optimiser, training.state, training.progress(bits), best=best)
    return metrics.model_copy(update={"valid_bits": bits})


def _write_scalars(board: SummaryWriter, metrics: Metrics) -> None:
    scalars = {
        "bits_per_sample/train": metrics.train_bits,
        "bits_per_sample/valid": metrics.valid_bits,
        "speed/samples_per_second": metrics.samples_per_second,
        "gradient_norm": metrics.gradient_norm,
    }
    for name, value in scalars.items():
        if value is not None:
            board.add_scalar(name, value, metrics.step)


@contextmanager
def _stop_signals() -> Iterator[list[signal.Signals]]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an entry of the yielded list; a second one acts at once."""
    received: list[signal.Signals] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
