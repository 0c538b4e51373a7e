"""A checkpoint: everything that a run needs to continue as if it had never stopped, without pickle.

`checksums.json` lists the SHA-256 of every other file, and each is compared when it is read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from slash_infer.errors import UserError, first_fault
from slash_infer.files import JSON_LIMIT, read_json
from slash_train.config import Preset, fixed_differences
from slash_train.model import SampleRNN, State
from slash_train.run_metadata import CHECKSUMS
from slash_train.stored import Finite, Natural
from slash_train.streams import Position
from slash_train.tensor_files import RESTORE, read_checked, read_tensors

WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
EMA_WEIGHTS = "ema.safetensors"
RNN_STATE = "state.safetensors"
TRAINER_STATE = "trainer_state.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UnloggedLoss(BaseModel):
    """The training loss since the last line of metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    nll_sum: Finite = 0.0
    """Negative log-likelihood in nats, summed over `samples`."""
    samples: Natural = 0


class TrainerState(BaseModel):
    """The JSON half of a checkpoint: how far the run is, and its position in the data."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[4] = 4
    preset: Preset
    """The configuration that it was trained with."""
    step: int = Field(ge=0, le=2**40)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """Wall-clock time of the run so far."""
    best_bits: Finite | None
    """Lowest bits per sample on the validation split so far; None if it was never scored."""
    valid_bits: Finite | None
    """Bits per sample of this checkpoint on the validation split, if it was scored."""
    position: Position
    unlogged: UnloggedLoss


class Checksums(BaseModel):
    """The SHA-256 of every other file of a checkpoint, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    files: dict[str, Sha256]


@dataclass(frozen=True)
class TrainerSnapshot:
    """Everything that goes into a checkpoint."""

    model: SampleRNN
    """The model with the newest weights."""
    ema: SampleRNN | None
    """The model with the EMA of the weights, if the run keeps one."""
    moments: dict[str, Tensor]
    """The optimiser's, by the names that they are saved under."""
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
        path = self.path / TRAINER_STATE
        content = read_checked(path, self._sha256(TRAINER_STATE), limit=JSON_LIMIT)
        try:
            return TrainerState.model_validate_json(content)
        except ValidationError as error:
            raise UserError(path, f"is damaged ({first_fault(error)})", RESTORE) from None

    def require_configuration(self, preset: Preset, source: Path) -> None:
        """Check that a configuration is the one that this was trained with, but for what a run may change.

        Args:
            preset: the configuration.
            source: the file it is from, for the message.

        Raises:
            UserError: another setting differs; the message lists all of these.
        """
        if differences := fixed_differences(self.trainer_state().preset, preset):
            raise UserError(source, f"is not what {self.path} was trained with: {'; '.join(differences)}", RESTORE)

    def load_weights(self, model: SampleRNN, *, ema: bool = False) -> None:
        """Copy weights into `model`: the newest, which training continues with, or their EMA.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        model.load_state_dict(self._tensors(EMA_WEIGHTS if ema else WEIGHTS, model.state_dict()))

    def load_moments(self, expected: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the optimiser's moments, on the CPU.

        Args:
            expected: moments of the names and shapes that it holds.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        return self._tensors(OPTIMISER, expected)

    def load_rnn_state(self, model: SampleRNN, lanes: int) -> State:
        """Return the carried RNN state of all `lanes` for every frame tier of `model`, on the CPU.

        Raises:
            UserError: the file is missing, damaged, or from a model of another shape.
        """
        initial = model.initial_state(lanes)
        names = tier_names(len(initial))
        saved = self._tensors(RNN_STATE, dict(zip(names, initial, strict=True)))
        return [saved[name] for name in names]

    def _tensors(self, name: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
        return read_tensors(self.path / name, self._sha256(name), expected)

    def _sha256(self, name: str) -> str:
        path = self.path / CHECKSUMS
        try:
            checksums = Checksums.model_validate(read_json(path, "a checkpoint", RESTORE)).files
        except ValidationError as error:
            raise UserError(path, f"is damaged ({first_fault(error)})", RESTORE) from None
        if name not in checksums:
            raise UserError(path, f"does not list {name}", RESTORE)
        return checksums[name]


def tier_names(tiers: int) -> list[str]:
    """Return the names that the RNN states of frame tiers are saved under."""
    return [f"tier_{k}" for k in range(1, tiers + 1)]
