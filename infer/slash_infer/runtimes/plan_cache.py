"""The user's cache of TensorRT plans.

A plan is executable code. It is never taken from a bundle: only from this cache, and only under the key it was built
for, which names everything it depends on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slash_infer.errors import UserError, first_line
from slash_infer.files import atomic_file, open_plain_file, read_json, sweep_below, write_json

PLAN_BYTES = 4 << 30
"""Of the largest plan that is read."""
METADATA_BYTES = 1 << 20
"""Of the largest JSON file beside a plan that is read."""
REMEDY = "remove it"

Batches = tuple[int, int, int]
"""A range of clips side by side: the fewest, those that a plan is tuned for, and the most."""


@dataclass(frozen=True)
class PlanKey:
    """Everything a plan depends on."""

    graph_sha256: str
    flavour: str
    """tensorrt or tensorrt_rtx."""
    version: str
    """TensorRT's."""
    gpu: str
    """Name of the GPU, or `any` for plans built ahead of time, for a compute capability."""
    compute_capability: str
    driver: str
    """Version of the driver, or `any` for plans built ahead of time."""
    recipe: int
    """Number of the build procedure."""
    batches: Batches

    @property
    def name(self) -> str:
        """A file name unique to this key."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


class PlanCache:
    """The folder of plans, `$XDG_CACHE_HOME/slash/plans` or `~/.cache/slash/plans`.

    Each plan has a JSON file beside it that holds its key and sha256.

    Raises:
        UserError: the folder belongs to somebody else, or others may write to it.
    """

    def __init__(self) -> None:
        self.path = user_cache("plans")
        sweep_below(self.path)

    def find(self, key: PlanKey) -> bytes | None:
        """Return the plan built for exactly this key; None if there is none, or it is damaged."""
        metadata, plan = self._metadata_of(key), self.path_of(key)
        if not (metadata.exists() and plan.exists()):
            return None
        try:
            with open_plain_file(plan, "a plan", REMEDY, limit=PLAN_BYTES) as file:
                content = file.read()
            written = read_json(metadata, "a plan's metadata", REMEDY, limit=METADATA_BYTES)
        except UserError:  # cut short: the plan is built again
            return None
        return content if written == _described(key, content) else None

    def find_or_build(self, keys: Sequence[PlanKey], build: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return the first plan found under `keys`, or build one and keep it under the first key.

        Returns:
            the plan, and whether it was built.
        """
        for key in keys:
            plan = self.find(key)
            if plan is not None:
                return plan, False
        plan = build()
        self.keep(keys[0], plan)
        return plan, True

    def keep(self, key: PlanKey, plan: bytes) -> None:
        """Write a plan under its key."""
        with atomic_file(self.path_of(key), force=True) as part:
            part.write_bytes(plan)
        write_json(self._metadata_of(key), _described(key, plan))

    def path_of(self, key: PlanKey) -> Path:
        """Return the path of a key's plan, whether or not it exists."""
        return self.path / f"{key.name}.plan"

    def _metadata_of(self, key: PlanKey) -> Path:
        return self.path / f"{key.name}.json"


def _described(key: PlanKey, plan: bytes) -> dict[str, Any]:
    """Return what stands beside a plan."""
    return {**asdict(key), "batches": list(key.batches), "plan_sha256": hashlib.sha256(plan).hexdigest()}


def user_cache(name: str) -> Path:
    """Return a folder of Slash's in the user's cache, made if it is missing: `$XDG_CACHE_HOME/slash/NAME`.

    Raises:
        UserError: the folder cannot be made, belongs to somebody else, or others may write to it.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    path = (Path(base) if base else Path.home() / ".cache") / "slash" / name
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        fault = f"cannot be made ({first_line(error)})"
        raise UserError(path, fault, "set XDG_CACHE_HOME to a folder that you may write to") from None
    held = path.stat()
    if path.is_symlink() or held.st_uid != os.getuid() or held.st_mode & 0o022:
        raise UserError(path, "others may write to it", f"make it your own and run: chmod 700 {path}")
    return path
