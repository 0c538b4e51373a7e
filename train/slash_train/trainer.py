"""One step of training, and everything that changes as a run goes on."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from slash_infer.errors import UserError
from slash_train.checkpoint import Checkpoint, TrainerState, UnloggedLoss
from slash_train.config import Preset
from slash_train.ema import EMA
from slash_train.loader import Batch
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN
from slash_train.schedule import learning_rate
from slash_train.streams import NO_TARGET, Draw, Position
from slash_train.workers import Workers


class Trainer:
    """A model in training on this process's lanes.

    Args:
        preset: its shape and recipe.
        device: where it trains.
        workers: the processes that train it together.

    Raises:
        UserError: the batch cannot be divided among the workers.
    """

    def __init__(self, preset: Preset, device: torch.device, workers: Workers) -> None:
        self.recipe = preset.training
        self.workers = workers
        self.lanes = workers.lanes(self.recipe.batch_size)
        torch.manual_seed(self.recipe.seed)
        self.model = SampleRNN(preset.model, preset.audio.codec.levels).to(device)
        self.average = EMA(self.model, self.recipe.ema_decay) if self.recipe.ema_decay else None
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=self.recipe.learning_rate, fused=True)
        with torch.no_grad():
            self.state = [tensor.clone() for tensor in self.model.initial_state(self.lanes.stop - self.lanes.start)]
        self.position: Position | None = None
        """Where the data goes on after the newest step."""
        self.step, self.seconds = 0, 0.0
        self.best_bits: float | None = None
        self._runner = workers.wrap(self.model)
        self._nll_sum = torch.zeros((), dtype=torch.float64, device=device)  # since the last line of metrics
        self._samples = 0  # likewise
        self._unchecked: list[tuple[Tensor, Draw]] = []  # each step's gradient norm and data
        self._norm = self._broken = torch.zeros((), device=device)

    def advance(self, batch: Batch) -> None:
        """Do one step of optimisation. Nothing here waits for the device.

        A gradient that is not finite, and every one after it, is left out of the update on the device itself:
        `require_finite` finds it later.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        with torch.autocast(batch.codes.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits, state = self._runner(batch.codes, self.state, batch.starting)
            nats = functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
            )
        self.state = [tensor.detach() for tensor in state]
        self.optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over the workers, so this makes them those of the mean over all samples.
        (nats * (self.workers.count / batch.draw.samples)).backward()  # type: ignore[no-untyped-call]
        self._norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self._broken = torch.maximum(self._broken, (~self._norm.isfinite()).float())
        self.optimiser.found_inf = self._broken  # type: ignore[attr-defined]  # how a GradScaler tells fused Adam
        self.optimiser.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        self._nll_sum = self._nll_sum + nats.detach().double()
        self._samples += batch.draw.samples
        self._unchecked.append((self._norm, batch.draw))
        self.position = batch.draw.after

    def require_finite(self) -> None:
        """Wait for the steps so far, and check that each could be taken.

        Raises:
            UserError: training has diverged; the weights are those before the step named.
        """
        first = self.step - len(self._unchecked) + 1
        for step, (norm, draw) in enumerate(self._unchecked, first):
            if not norm.isfinite():
                raise UserError(
                    "training diverged",
                    f"the gradient of step {step} is not finite, on windows of {', '.join(draw.recordings)}",
                    "go on from the last checkpoint, which is from before, with `resume` `set` training.learning_rate=... (lower), or start a new run",
                )
        self._unchecked.clear()

    def measure(self, seconds: float, steps: int) -> Metrics:
        """EMA the loss since the last measure. Of `steps` steps in this process, which took `seconds`."""
        self.require_finite()
        nats = self.workers.sum(self._nll_sum).item()
        metrics = Metrics(
            step=self.step,
            samples=self.step * self.recipe.batch_size * self.recipe.window,
            seconds=self.seconds,
            train_bits=nats / self._samples / math.log(2),
            samples_per_second=steps * self.recipe.batch_size * self.recipe.window / seconds,
            gradient_norm=self._norm.item(),
            learning_rate=learning_rate(self.recipe, self.step - 1),
        )
        self._nll_sum, self._samples = torch.zeros_like(self._nll_sum), 0
        return metrics

    @property
    def epoch(self) -> int:
        """Passes over the clips begun, counted from 0."""
        return self.position.epoch if self.position else 0

    @property
    def scored_model(self) -> SampleRNN:
        """The model whose weights are scored, heard and exported."""
        return self.model if self.average is None else self.average.model

    def progress(self, valid_bits: float | None = None) -> TrainerState:
        """Return the JSON half of a checkpoint; `valid_bits` is its score, where it was scored."""
        nats = self.workers.sum(self._nll_sum).item()
        return TrainerState(
            step=self.step,
            seconds=self.seconds,
            best_bits=self.best_bits,
            valid_bits=valid_bits,
            position=self.position or Position(),
            unlogged=UnloggedLoss(nats=nats, samples=self._samples),
        )

    def restore(self, checkpoint: Checkpoint, progress: TrainerState) -> None:
        """Go back, or on, to where a checkpoint stands."""
        checkpoint.load_weights(self.model)
        if self.average is not None:
            checkpoint.load_weights(self.average.model, averaged=True)
        checkpoint.load_optimiser(self.model, self.optimiser)
        device = self._nll_sum.device
        saved = checkpoint.load_state(self.model, self.recipe.batch_size)
        self.state = [state[:, :, self.lanes].to(device) for state in saved]
        self.position = progress.position
        self.step, self.seconds = progress.step, progress.seconds
        self.best_bits = progress.best_bits
        if self.workers.is_main:
            self._nll_sum += progress.unlogged.nats
        self._samples = progress.unlogged.samples
