"""Saves and restores everything a run needs to go on as if it had never stopped. No pickle anywhere.

A run's `checkpoints/` folder holds one directory per kept step and `index.json`, which names the last and the
best. A directory is complete before the index names it and the index is replaced in one move, so whenever the
process dies, what the index names can be loaded.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slash_infer.errors import UserError
from slash_infer.files import read_json, whole_directory, write_json
from slash_train.model import SampleRNN, State

INDEX = "index.json"
WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
STATE = "state.safetensors"
PROGRESS = "progress.json"
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Checkpoint:
    """One saved step, on disk."""

    path: Path

    def progress(self) -> dict[str, Any]:
        """The JSON half: step, seconds, data position, scores."""
        return read_json(self.path / PROGRESS, "a checkpoint")

    def load_weights(self, model: SampleRNN) -> None:
        """Copy the saved weights into `model`.

        Raises:
            UserError: the file is damaged or belongs to a model of another shape.
        """
        try:
            model.load_state_dict(self._tensors(WEIGHTS))
        except RuntimeError:
            raise UserError(f"{self.path / WEIGHTS}: does not fit the run's configuration; was it moved?") from None

    def load_optimiser(self, model: SampleRNN, optimiser: torch.optim.Optimizer) -> None:
        """Restore Adam's moments of every parameter of `model`."""
        saved = self._tensors(OPTIMISER)
        content = optimiser.state_dict()
        names = [name for name, _ in model.named_parameters()]
        content["state"] = {
            i: {moment: saved[f"{moment}.{name}"] for moment in ADAM_MOMENTS} for i, name in enumerate(names)
        }
        optimiser.load_state_dict(content)

    def load_state(self, device: torch.device) -> State:
        """Return the lanes' carried LSTM state."""
        saved = self._tensors(STATE)
        return [(saved[f"h.{k}"].to(device), saved[f"c.{k}"].to(device)) for k in range(1, len(saved) // 2 + 1)]

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self.path / name)
        except FileNotFoundError:
            raise UserError(f"{self.path / name}: is missing; choose another --checkpoint") from None
        except SafetensorError as error:
            raise UserError(f"{self.path / name}: is damaged ({error}); choose another --checkpoint") from None


class CheckpointStore:
    """The `checkpoints/` folder of a run."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "checkpoints"

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
            raise UserError(f"{path}: is not a checkpoint; use best, last or a folder inside {self._folder}")
        return Checkpoint(path)

    def save(
        self,
        model: SampleRNN,
        optimiser: torch.optim.Optimizer,
        state: State,
        progress: dict[str, Any],
        *,
        best: bool,
    ) -> None:
        """Write a checkpoint, name it `last` (and `best`) in the index, and remove those no longer named.

        Args:
            model: whose weights to save.
            optimiser: Adam over `model.parameters()`, in their order.
            state: the lanes' LSTM state.
            progress: JSON content; its `step` names the directory.
            best: whether this is the best so far.
        """
        name = f"step-{progress['step']:08d}"
        with whole_directory(self._folder / name) as folder:
            save_file(_saveable(model.state_dict()), folder / WEIGHTS)
            save_file(_saveable(_moments(model, optimiser)), folder / OPTIMISER)
            save_file(_saveable(_named(state)), folder / STATE)
            write_json(folder / PROGRESS, progress)
        index_path = self._folder / INDEX
        index = read_json(index_path, "a checkpoint index") if index_path.exists() else {}
        index["last"] = name
        if best or "best" not in index:
            index["best"] = name
        write_json(index_path, index)
        for old in self._folder.iterdir():
            if old.is_dir() and old.name not in index.values():  # also what a killed process left half-made
                shutil.rmtree(old)


def _saveable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _moments(model: SampleRNN, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": torch.as_tensor(optimiser.state[parameter][moment])
        for name, parameter in model.named_parameters()
        for moment in ADAM_MOMENTS
    }


def _named(state: State) -> dict[str, Tensor]:
    return {
        f"{letter}.{k}": tensor for k, pair in enumerate(state, 1) for letter, tensor in zip("hc", pair, strict=True)
    }
