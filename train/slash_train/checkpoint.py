"""Saves and restores everything a run needs to go on as if it had never stopped. No pickle anywhere.

A run's `checkpoints/` folder holds one directory per kept step and `index.json`, which names the last and the
best. A directory is complete before the index names it and the index is replaced in one move, so whenever the
process dies, what the index names can be loaded.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
AVERAGE = "average.safetensors"
STATE = "state.safetensors"
PROGRESS = "progress.json"
CHECKPOINT = re.compile(r"step-\d{8,}")
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class UnloggedLoss(BaseModel):
    """The training loss since the last line of metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nats: float = Field(default=0.0, allow_inf_nan=False)
    samples: int = Field(default=0, ge=0)


class TrainerState(BaseModel):
    """The JSON half of a checkpoint: how far the run is and where its data stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """Wall-clock time of the run so far."""
    best_bits: float | None = Field(allow_inf_nan=False)
    """The best bits per sample on the validation split so far."""
    valid_bits: float | None = Field(allow_inf_nan=False)
    """Those of this checkpoint, where it was scored."""
    position: Position
    unlogged: UnloggedLoss


@dataclass(frozen=True)
class Checkpoint:
    """One saved step, on disk."""

    path: Path

    def progress(self) -> TrainerState:
        """Read the JSON half."""
        content = read_json(self.path / PROGRESS, "a checkpoint")
        try:
            return TrainerState.model_validate(content)
        except ValidationError:
            raise UserError(self.path / PROGRESS, "is damaged", "restore it from a copy of the run") from None

    def load_weights(self, model: SampleRNN, *, averaged: bool = False) -> None:
        """Copy weights into `model`: the newest, that training goes on with, or the average of a run that keeps one.

        Raises:
            UserError: the file is missing, damaged or belongs to a model of another shape.
        """
        name = AVERAGE if averaged else WEIGHTS
        try:
            model.load_state_dict(self._tensors(name))
        except RuntimeError:
            raise UserError(self.path / name, "does not fit the run's configuration", "was it moved?") from None

    def load_optimiser(self, model: SampleRNN, optimiser: torch.optim.Optimizer) -> None:
        """Restore Adam's moments of every parameter of `model`."""
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

    def load_state(self, model: SampleRNN, lanes: int) -> State:
        """Return the carried RNN state of all `lanes` of every frame tier of `model`, on the CPU."""
        initial = model.initial_state(lanes)
        names = _tier_names(len(initial))
        saved = self._tensors(STATE, {name: state.shape for name, state in zip(names, initial, strict=True)})
        return [saved[name] for name in names]

    def _tensors(self, name: str, expected: Mapping[str, torch.Size] | None = None) -> dict[str, Tensor]:
        path = self.path / name
        try:
            tensors = load_file(path)
        except FileNotFoundError:
            raise UserError(path, "is missing", "restore it from a copy of the run") from None
        except SafetensorError as error:
            raise UserError(path, f"is damaged ({error})", "restore it from a copy of the run") from None
        for tensor, shape in (expected or {}).items():
            if tensor not in tensors or tensors[tensor].shape != shape:
                raise UserError(path, f"is damaged ({tensor} does not fit)", "restore it from a copy of the run")
        return tensors


class CheckpointStore:
    """The `checkpoints/` folder of a run."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "checkpoints"

    def is_empty(self) -> bool:
        """Whether no checkpoint has been finished yet."""
        return not (self._folder / INDEX).exists()

    def find(self, which: str) -> Checkpoint:
        """Return the checkpoint called `best` or `last`, or the one whose directory is `which`.

        Raises:
            UserError: there is none.
        """
        if which in ("best", "last"):
            index = read_json(self._folder / INDEX, "a run with a checkpoint; train it first")
            path = self._folder / str(index.get(which))
        else:
            path = Path(which)
        if not (path / PROGRESS).is_file():
            raise UserError(path, "is not a checkpoint", f"use best, last or a folder inside {self._folder}")
        return Checkpoint(path)

    def all(self) -> list[Checkpoint]:
        """Return the checkpoints that are kept, in the order of their steps."""
        return [] if self.is_empty() else [Checkpoint(self._folder / name) for _, name in sorted(self._steps())]

    def save(
        self,
        model: SampleRNN,
        average: SampleRNN | None,
        optimiser: torch.optim.Optimizer,
        state: State,
        progress: TrainerState,
        *,
        best: bool,
        keep: int,
        every: int,
    ) -> None:
        """Write a checkpoint, name it `last` (and `best`) in the index, and remove those no longer wanted.

        Args:
            model: whose weights to save.
            average: with the averaged weights, where the run keeps them.
            optimiser: Adam over `model.parameters()`, in their order.
            state: the RNN state of all lanes.
            progress: its `step` names the directory.
            best: whether this is the best so far.
            keep: how many to keep besides the best and the last.
            every: steps between checkpoints.
        """
        name = f"step-{progress.step:08d}"
        with atomic_directory(self._folder / name) as folder:
            _save_tensors(model.state_dict(), folder / WEIGHTS)
            if average is not None:
                _save_tensors(average.state_dict(), folder / AVERAGE)
            _save_tensors(_moments(model, optimiser), folder / OPTIMISER)
            _save_tensors(dict(zip(_tier_names(len(state)), state, strict=True)), folder / STATE)
            write_json(folder / PROGRESS, progress.model_dump(mode="json"))
        index_path = self._folder / INDEX
        index = read_json(index_path, "a checkpoint index") if index_path.exists() else {}
        index["last"] = name
        if best or "best" not in index:
            index["best"] = name
        write_json(index_path, index)
        self._forget({index["last"], index["best"]}, keep, every)

    def _forget(self, named: set[str], keep: int, every: int) -> None:
        """Remove all but the named checkpoints and those of the history."""
        steps = self._steps()
        wanted = spaced([step for step, _ in steps], keep, every)
        for step, name in steps:
            if step not in wanted and name not in named:
                shutil.rmtree(self._folder / name)

    def _steps(self) -> list[tuple[int, str]]:
        names = (path.name for path in self._folder.iterdir())
        return [(int(name.removeprefix("step-")), name) for name in names if CHECKPOINT.fullmatch(name)]


def spaced(steps: Sequence[int], keep: int, every: int) -> set[int]:
    """Choose at most `keep` of `steps`: the multiples of `every`, of twice it, of four times ... that are few enough.

    What is chosen later is always among what was chosen earlier, so a history can be thinned as it grows.
    """
    stride = every
    while max(steps, default=0) // stride > keep:
        stride *= 2
    return {step for step in steps if step % stride == 0}


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors from any device.

    Raises:
        UserError: the disk is full, or cannot be written.
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
