"""The training step, and all state that changes during a run."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from slash_train.checkpoint import Checkpoint, TrainerSnapshot, TrainerState, UnloggedLoss
from slash_train.config import Preset
from slash_train.devices import has_fast_bf16
from slash_train.divergence import diverged
from slash_train.ema import EMA
from slash_train.loader import Batch
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN
from slash_train.optimiser import Optimiser
from slash_train.origin import Origin
from slash_train.schedule import rate_factor
from slash_train.streams import NO_TARGET, Draw, Position
from slash_train.workers import Workers

WIDE = 512  # width from which products pay in bf16 on a GPU; 256 and 1024 were measured


class Trainer:
    """Trains a model on the lanes of this process.

    Args:
        preset: shape of the model, and the recipe.
        device: the device to train on.
        workers: the processes that train the model together.
        origin: the weights to begin with, those of the first worker; random ones if not given.

    Raises:
        UserError: the batch cannot be divided among the workers, or the origin's model is another.
    """

    def __init__(self, preset: Preset, device: torch.device, workers: Workers, origin: Origin | None = None) -> None:
        self.preset = preset
        self.recipe = preset.training
        self.workers = workers
        self.lanes = workers.lanes(self.recipe.batch_size)
        torch.manual_seed(self.recipe.seed)
        self.model = SampleRNN(preset.model, preset.audio.codec).to(device)
        self.not_inherited = [] if origin is None else origin.pass_on(self.model, preset)
        """Names of the weights that the origin has none for."""
        self._wrapped = workers.wrap(self.model)
        self.ema = EMA(self.model, self.recipe.ema_decay) if self.recipe.ema_decay else None
        self.optimiser = Optimiser(self.model, self.recipe)
        self._bf16 = self.recipe.precision == "bf16" or (self.recipe.precision == "auto" and has_fast_bf16(device))
        if self.model.sample_tier is not None:
            self.model.sample_tier.multiplies = products_pay(device, preset.model.width, is_bf16=self._bf16)
        with torch.no_grad():
            self.rnn_state = [
                tensor.clone() for tensor in self.model.initial_state(self.lanes.stop - self.lanes.start)
            ]
        self.position: Position | None = None
        """Position in the data after the newest step; None before the first."""
        self.step, self.seconds = 0, 0.0
        self.best_bits: float | None = None
        self.saved = False
        """Whether the run has a checkpoint."""
        self.was_scored = False
        """Whether the checkpoint that it continues from was scored."""
        self._nll_sum = torch.zeros((), dtype=torch.float64, device=device)  # in nats, since the last line of metrics
        self._samples = 0  # likewise
        self._unchecked: list[tuple[Tensor, Draw]] = []  # each step's gradient norm and data
        self._rate = 0.0  # of the newest step, by which the learning rates were multiplied
        self._norm = self._broken = torch.zeros((), device=device)

    def compile(self) -> None:
        """Compile the sample tier, and look up rather than multiply: compiled, that is faster."""
        if self.model.sample_tier is not None:
            self.model.sample_tier.multiplies = False
            self.model.sample_tier.compile()

    def advance(self, batch: Batch, done: float = 0.0) -> None:
        """Do one optimiser step, without waiting for the device.

        After a gradient that is not finite, the device skips the update of this and of all later steps;
        `require_finite` reports it later.

        Args:
            batch: windows of all lanes.
            done: the fraction of the training that is done, the same in all workers.
        """
        with torch.autocast(batch.codes.device.type, torch.bfloat16, enabled=self._bf16):
            logits, state = self._wrapped(batch.codes, self.rnn_state, batch.starting)
            nll = functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
            )
        self.rnn_state = [tensor.detach() for tensor in state]
        self.model.zero_grad(set_to_none=True)
        # Gradients are averaged over the workers: scaled like this, they become those of the mean over all samples.
        (nll * (self.workers.count / batch.draw.samples)).backward()  # type: ignore[no-untyped-call]
        self._norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self._broken = torch.maximum(self._broken, (~self._norm.isfinite()).float())
        self._rate = rate_factor(self.recipe, self.step, done)
        self.optimiser.step(self._rate, self._broken)
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.step)
        self._nll_sum = self._nll_sum + nll.detach().double()
        self._samples += batch.draw.samples
        self._unchecked.append((self._norm, batch.draw))
        self.position = batch.draw.after

    def require_finite(self) -> None:
        """Wait for the steps so far, and check that all their gradients were finite.

        Raises:
            UserError: training has diverged. The message names the step, and the weights are those before it.
        """
        first = self.step - len(self._unchecked) + 1
        for step, (norm, draw) in enumerate(self._unchecked, first):
            if not norm.isfinite():
                raise diverged(
                    f"the gradient of step {step} is not finite, on windows of {', '.join(draw.recordings)}",
                    saved=self.saved,
                )
        self._unchecked.clear()

    def measure(self, seconds: float, steps: int) -> Metrics:
        """Return the metrics since the last call, and reset them.

        Args:
            seconds: wall-clock time since the last call.
            steps: optimiser steps since the last call.

        Raises:
            UserError: training has diverged.
        """
        self.require_finite()
        nll_sum = self._sum_nll()
        metrics = Metrics(
            step=self.step,
            samples=self.step * self.recipe.batch_size * self.recipe.window,
            seconds=self.seconds,
            train_bits=nll_sum / self._samples / math.log(2),
            samples_per_second=steps * self.recipe.batch_size * self.recipe.window / seconds,
            gradient_norm=self._norm.item(),
            learning_rate=self.recipe.learning_rate * self._rate,
        )
        self._nll_sum, self._samples = torch.zeros_like(self._nll_sum), 0
        return metrics

    def _sum_nll(self) -> float:
        """Return the loss since the last line of metrics, over the lanes of all workers.

        Raises:
            UserError: it is not finite: training has diverged.
        """
        total = float(self.workers.sum(self._nll_sum).item())
        if not math.isfinite(total):
            raise diverged(f"the training loss up to step {self.step} is not finite", saved=self.saved)
        return total

    @property
    def scored_model(self) -> SampleRNN:
        """The model to score, preview and export: the EMA, if there is one."""
        return self.model if self.ema is None else self.ema.model

    def trainer_state(self, valid_bits: float | None) -> TrainerState:
        """Return the JSON half of a checkpoint. Every worker must call this.

        Args:
            valid_bits: score of the current weights on the validation split, if they were scored.

        Raises:
            UserError: training has diverged.
        """
        return TrainerState(
            preset=self.preset,
            step=self.step,
            seconds=self.seconds,
            best_bits=self.best_bits,
            valid_bits=valid_bits,
            position=self.position or Position(),
            unlogged=UnloggedLoss(nll_sum=self._sum_nll(), samples=self._samples),
        )

    def snapshot(self, valid_bits: float | None) -> TrainerSnapshot:
        """Return everything that a checkpoint holds, gathered from all workers. Every worker must call this.

        Args:
            valid_bits: score of the current weights on the validation split, if they were scored.
        """
        return TrainerSnapshot(
            model=self.model,
            ema=self.ema.model if self.ema is not None else None,
            moments=self.optimiser.moments(),
            rnn_state=self.workers.gather(self.rnn_state),
            trainer_state=self.trainer_state(valid_bits),
        )

    def restore(self, checkpoint: Checkpoint, trainer_state: TrainerState) -> None:
        """Continue from a checkpoint.

        Args:
            checkpoint: the checkpoint, of this model.
            trainer_state: its JSON half.

        Raises:
            UserError: a file of the checkpoint is missing or damaged.
        """
        checkpoint.load_weights(self.model)
        if self.ema is not None:
            checkpoint.load_weights(self.ema.model, ema=True)
        self.optimiser.restore(checkpoint.load_moments(self.optimiser.moments()))
        device = self._nll_sum.device
        saved = checkpoint.load_rnn_state(self.model, self.recipe.batch_size)
        self.rnn_state = [state[:, :, self.lanes].to(device) for state in saved]
        self.position = trainer_state.position
        self.step, self.seconds = trainer_state.step, trainer_state.seconds
        self.best_bits = trainer_state.best_bits
        self.saved, self.was_scored = True, trainer_state.valid_bits is not None
        if self.workers.is_main:
            self._nll_sum += trainer_state.unlogged.nll_sum
        self._samples = trainer_state.unlogged.samples


def products_pay(device: torch.device, width: int, *, is_bf16: bool) -> bool:
    """Return whether the sample tier's first layer should multiply rather than look up, where it is not compiled.

    On a GPU in bf16, tensor cores multiply faster than the gradient of a wide table is added up: a step of width 1024
    is 1.43 times as fast, and one of 256 0.96 times (docs/performance.md).
    """
    return device.type == "cuda" and is_bf16 and width >= WIDE
