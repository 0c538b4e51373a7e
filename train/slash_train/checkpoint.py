"""Saves and restores everything that a run needs to continue as if it had never stopped, without pickle.

A run's `checkpoints/` folder holds one directory per saved step, and `index.json` that names the last and the best of
them. A directory is complete before the index names it, and the index is replaced atomically: whenever the process
dies, the checkpoints that the index names can be loaded.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slash_infer.errors import UserError
from slash_infer.files import atomic_directory, read_json, write_json
from slash_train.model import SampleRNN, State
from slash_train.streams import Position

INDEX = "index.json"
WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
EMA_WEIGHTS = "ema.safetensors"
RNN_STATE = "state.safetensors"
TRAINER_STATE = "trainer_state.json"
CHECKPOINT = re.compile(r"step-\d{8,}")
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
RESTORE = "restore it from a copy of the run"


class UnloggedLoss(BaseModel):
    """The training loss since the last line of metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nll_sum: float = Field(default=0.0, allow_inf_nan=False)
    """Negative log-likelihood in nats, summed over `samples`."""
    samples: int = Field(default=0, ge=0)


class TrainerState(BaseModel):
    """The JSON half of a checkpoint: how far the run is, and its position in the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    step: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """Wall-clock time of the run so far."""
    best_bits: float | None = Field(allow_inf_nan=False)
    """Lowest bits per sample on the validation split so far; None if it was never scored."""
    valid_bits: float | None = Field(allow_inf_nan=False)
    """Bits per sample of this checkpoint on the validation split, if it was scored."""
    position: Position
    unlogged: UnloggedLoss


@dataclass(frozen=True)
class TrainerSnapshot:
    """Everything that goes into a checkpoint."""

    model: SampleRNN
    """The model with the newest weights."""
    ema: SampleRNN | None
    """The model with the EMA of the weights, if the run keeps one."""
    optimiser: torch.optim.Optimizer
    """Adam over `model.parameters()`, in their order."""
    rnn_state: State
    """The carried RNN state of all lanes of all workers."""
    trainer_state: TrainerState


@dataclass(frozen=True)
class Checkpoint:
    """One saved step, on disk."""

    path: Path

    def trainer_state(self) -> TrainerState:
        """Read the JSON half.

        Raises:
            UserError: the file is missing or damaged.
        """
        content = read_json(self.path / TRAINER_STATE, "a checkpoint", RESTORE)
        try:
            return TrainerState.model_validate(content)
        except ValidationError:
            raise UserError(self.path / TRAINER_STATE, "is damaged", RESTORE) from None

    def load_weights(self, model: SampleRNN, *, ema: bool = False) -> None:
        """Copy weights into `model`: the newest, which training continues with, or their EMA.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        name = EMA_WEIGHTS if ema else WEIGHTS
        try:
            model.load_state_dict(self._tensors(name))
        except RuntimeError:
            raise UserError(self.path / name, "does not fit the run's configuration", "was it moved?") from None

    def load_optimiser(self, model: SampleRNN, optimiser: torch.optim.Optimizer) -> None:
        """Restore Adam's moments for every parameter of `model`.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        names = [name for name, _ in model.named_parameters()]
        expected = {
            f"{moment}.{name}": parameter.shape if moment != "step" else torch.Size()
            for name, parameter in model.named_parameters()
            for moment in ADAM_MOMENTS
        }
        saved = self._tensors(OPTIMISER, expected)
        content = optimiser.state_dict()
        content["state"] = {
            i: {moment: saved[f"{moment}.{name}"] for moment in ADAM_MOMENTS} for i, name in enumerate(names)
        }
        optimiser.load_state_dict(content)

    def load_rnn_state(self, model: SampleRNN, lanes: int) -> State:
        """Return the carried RNN state of all `lanes` for every frame tier of `model`, on the CPU.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        initial = model.initial_state(lanes)
        names = _tier_names(len(initial))
        saved = self._tensors(RNN_STATE, {name: state.shape for name, state in zip(names, initial, strict=True)})
        return [saved[name] for name in names]

    def _tensors(self, name: str, expected: Mapping[str, torch.Size] | None = None) -> dict[str, Tensor]:
        path = self.path / name
        try:
            tensors = load_file(path)
        except FileNotFoundError:
            raise UserError(path, "is missing", RESTORE) from None
        except SafetensorError as error:
            raise UserError(path, f"is damaged ({error})", RESTORE) from None
        for tensor, shape in (expected or {}).items():
            if tensor not in tensors or tensors[tensor].shape != shape:
                raise UserError(path, f"is damaged ({tensor} does not fit)", RESTORE)
        return tensors


class CheckpointStore:
    """The `checkpoints/` folder of a run."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "checkpoints"

    def is_empty(self) -> bool:
        """Return whether no checkpoint has been completed yet."""
        return not (self._folder / INDEX).exists()

    def find(self, which: str) -> Checkpoint:
        """Return the checkpoint named `best` or `last`, or the one whose directory is `which`.

        Raises:
            UserError: there is no such checkpoint.
        """
        if which in ("best", "last"):
            index = read_json(self._folder / INDEX, "a run with a checkpoint", "train it first")
            path = self._folder / str(index.get(which))
        else:
            path = Path(which)
        if not (path / TRAINER_STATE).is_file():
            raise UserError(path, "is not a checkpoint", f"use best, last or a folder inside {self._folder}")
        return Checkpoint(path)

    def all(self) -> list[Checkpoint]:
        """Return all checkpoints on disk, in the order of their steps."""
        return [] if self.is_empty() else [Checkpoint(self._folder / name) for _, name in sorted(self._steps())]

    def save(self, snapshot: TrainerSnapshot, *, best: bool, keep: int, every: int) -> None:
        """Write a checkpoint, name it `last` (and `best`) in the index, and remove checkpoints not to be kept.

        Args:
            snapshot: what to write. Its step names the directory.
            best: whether it is the best checkpoint so far.
            keep: how many checkpoints to keep besides the best and the last.
            every: steps between checkpoints.

        Raises:
            UserError: the disk is full, or cannot be written to.
        """
        name = f"step-{snapshot.trainer_state.step:08d}"
        rnn_state = dict(zip(_tier_names(len(snapshot.rnn_state)), snapshot.rnn_state, strict=True))
        with atomic_directory(self._folder / name, force=True) as folder:
            _save_tensors(snapshot.model.state_dict(), folder / WEIGHTS)
            if snapshot.ema is not None:
                _save_tensors(snapshot.ema.state_dict(), folder / EMA_WEIGHTS)
            _save_tensors(_moments(snapshot.model, snapshot.optimiser), folder / OPTIMISER)
            _save_tensors(rnn_state, folder / RNN_STATE)
            write_json(folder / TRAINER_STATE, snapshot.trainer_state.model_dump(mode="json"))
        index_path = self._folder / INDEX
        index = read_json(index_path, "a checkpoint index", RESTORE) if index_path.exists() else {}
        index["last"] = name
        if best or "best" not in index:
            index["best"] = name
        write_json(index_path, index)
        self._thin({index["last"], index["best"]}, keep, every)

    def _thin(self, named: set[str], keep: int, every: int) -> None:
        """Remove all checkpoints but the named ones and those of the thinned history."""
        steps = self._steps()
        wanted = spaced([step for step, _ in steps], keep, every)
        for step, name in steps:
            if step not in wanted and name not in named:
                shutil.rmtree(self._folder / name)

    def _steps(self) -> list[tuple[int, str]]:
        names = (path.name for path in self._folder.iterdir())
        return [(int(name.removeprefix("step-")), name) for name in names if CHECKPOINT.fullmatch(name)]


def spaced(steps: Sequence[int], keep: int, every: int) -> set[int]:
    """Choose at most `keep` of `steps`: the multiples of the smallest power of two times `every` that leaves so few.

    A later choice is always a subset of an earlier one and newer steps, so a history can be thinned as it grows.
    """
    stride = every
    while max(steps, default=0) // stride > keep:
        stride *= 2
    return {step for step in steps if step % stride == 0}


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors that may be on any device.

    Raises:
        UserError: the disk is full, or cannot be written to.
    """
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise UserError(path, f"cannot be written ({error})", "make room and go on with `resume`") from None


def _moments(model: SampleRNN, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": torch.as_tensor(optimiser.state[parameter][moment])
        for name, parameter in model.named_parameters()
        for moment in ADAM_MOMENTS
    }


def _tier_names(tiers: int) -> list[str]:
    return [f"tier_{k}" for k in range(1, tiers + 1)]
