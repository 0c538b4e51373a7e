"""Saves checkpoints, finds them, and removes old ones.

A run's `checkpoints/` folder holds one directory per saved step, and `index.json` that names the last and the best of
them. A directory is complete before the index names it, and the index is replaced atomically: whenever the process
dies, the checkpoints that the index names can be loaded.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from slash_infer.errors import UserError
from slash_infer.files import atomic_directory, read_json, write_json
from slash_train.checkpoint import (
    EMA_WEIGHTS,
    OPTIMISER,
    RNN_STATE,
    TRAINER_STATE,
    WEIGHTS,
    Checkpoint,
    Checksums,
    TrainerSnapshot,
    tier_names,
)
from slash_train.divergence import diverged
from slash_train.run_metadata import CHECKSUMS
from slash_train.tensor_files import RESTORE, first_not_finite, on_host, write_bytes, write_tensors

INDEX = "index.json"
CHECKPOINT = re.compile(r"step-\d{8,13}")


class CheckpointStore:
    """The `checkpoints/` folder of a run."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "checkpoints"

    def is_empty(self) -> bool:
        """Return whether no checkpoint has been completed yet.

        A process that was killed in between leaves its first checkpoint without an index; it is made again.

        Raises:
            UserError: there are more, so there was an index: beginning anew would replace them.
        """
        path = self._folder / INDEX
        if os.path.lexists(path):  # a link that leads nowhere is damage
            return False
        if self._folder.is_dir() and len(self._steps()) > 1:
            raise UserError(path, "is missing, and there are checkpoints", RESTORE)
        return True

    def find(self, which: str) -> Checkpoint:
        """Return the checkpoint named `best` or `last`, or the one whose directory is `which`.

        Raises:
            UserError: there is no such checkpoint.
        """
        path = self._folder / self._index()[which] if which in ("best", "last") else Path(which)
        if not os.path.isfile(path / CHECKSUMS):  # noqa: PTH113  # what cannot be a path is no file, either
            if which in ("best", "last"):
                raise UserError(path, f"is not a checkpoint, though {INDEX} names it", RESTORE)
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
            UserError: the disk is full or cannot be written to, or something is not finite.
        """
        step = snapshot.trainer_state.step
        name = f"step-{step:08d}"
        rnn_state = dict(zip(tier_names(len(snapshot.rnn_state)), snapshot.rnn_state, strict=True))
        files = {WEIGHTS: on_host(snapshot.model.state_dict())}
        if snapshot.ema is not None:
            files[EMA_WEIGHTS] = on_host(snapshot.ema.state_dict())
        files |= {OPTIMISER: on_host(snapshot.moments), RNN_STATE: on_host(rnn_state)}
        for tensors in files.values():
            if broken := first_not_finite(tensors):
                raise diverged(f"{broken} is not finite after step {step}", saved=not self.is_empty())
        with atomic_directory(self._folder / name, force=True) as folder:
            checksums = {file: write_tensors(tensors, folder / file) for file, tensors in files.items()}
            state = snapshot.trainer_state.model_dump_json(indent=2).encode() + b"\n"
            write_bytes(state, folder / TRAINER_STATE)
            checksums[TRAINER_STATE] = hashlib.sha256(state).hexdigest()
            write_json(folder / CHECKSUMS, Checksums(files=checksums).model_dump())
        index = {} if self.is_empty() else self._index()
        index["last"] = name
        if best or "best" not in index:
            index["best"] = name
        write_json(self._folder / INDEX, index)
        self._thin({index["last"], index["best"]}, keep, every)

    def _index(self) -> dict[str, str]:
        """Read which checkpoints are the last and the best."""
        path = self._folder / INDEX
        if self.is_empty():
            raise UserError(self._folder.parent, "has no checkpoint yet", "train it first")
        index = read_json(path, "an index of checkpoints", RESTORE)
        if index.keys() != {"last", "best"} or not all(CHECKPOINT.fullmatch(str(name)) for name in index.values()):
            raise UserError(path, "is damaged (it does not name the last and the best checkpoint)", RESTORE)
        return index

    def _thin(self, named: set[str], keep: int, every: int) -> None:
        """Remove all checkpoints but the named ones and those of the thinned history."""
        steps = self._steps()
        wanted = spaced([step for step, _ in steps], keep, every)
        for step, name in steps:
            if step not in wanted and name not in named:
                _remove(self._folder / name)

    def _steps(self) -> list[tuple[int, str]]:
        names = (path.name for path in self._folder.iterdir())
        return [(int(name.removeprefix("step-")), name) for name in names if CHECKPOINT.fullmatch(name)]


def spaced(steps: Sequence[int], keep: int, every: int) -> set[int]:
    """Choose at most `keep` of `steps`: the multiples of the smallest power of two times `every` that leaves so few.

    A later choice is always a subset of an earlier one and newer steps, so a history can be thinned as it grows.
    What training began with, step 0, is not part of it.
    """
    stride = every
    while max(steps, default=0) // stride > keep:
        stride *= 2
    return {step for step in steps if step and step % stride == 0}


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, or the link to one that was moved to another disk."""
    if checkpoint.is_symlink():
        checkpoint.unlink()
    else:
        shutil.rmtree(checkpoint)
