"""The weights that come with Slash, to learn other recordings from: in half precision, without moments."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer.bundle import Ancestor
from slash_infer.errors import UserError, first_fault
from slash_infer.files import parse_json, read_json_file, write_json
from slash_train.config import Preset
from slash_train.model import SampleRNN
from slash_train.tensor_files import on_host, read_tensors, write_tensors
from slash_train.trained_model import TrainedModel

BOX = Path(__file__).resolve().parent / "in_the_box"
MANIFEST, WEIGHTS = "box.json", "weights.safetensors"
KIND, REMEDY = "the weights that come with Slash", "install slash-audio again"
LIMIT = 1 << 20  # bytes of the manifest


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    preset: Preset
    ancestors: Annotated[tuple[Ancestor, ...], Field(min_length=1)]
    """The checkpoint itself, then those that it began with, the nearest first."""
    weights_sha256: str


def write_box(trained: TrainedModel, ancestors: tuple[Ancestor, ...], folder: Path) -> None:
    """Write a model's weights.

    Args:
        trained: the model.
        ancestors: itself, then the checkpoints that it began with.
        folder: an existing folder.

    Raises:
        UserError: a file cannot be written.
    """
    halves = {name: tensor.half() for name, tensor in on_host(trained.model.state_dict()).items()}
    sha256 = write_tensors(halves, folder / WEIGHTS)
    manifest = _Manifest(preset=trained.preset, ancestors=ancestors, weights_sha256=sha256)
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_box(folder: Path = BOX) -> tuple[TrainedModel, tuple[Ancestor, ...]]:
    """Return what `write_box` was given.

    Raises:
        UserError: a file is missing or damaged.
    """
    path = folder / MANIFEST
    content = parse_json(read_json_file(path, KIND, REMEDY, limit=LIMIT), path, KIND, REMEDY)
    try:
        manifest = _Manifest.model_validate(content)
    except ValidationError as error:
        raise UserError(path, first_fault(error), REMEDY) from None
    itself, *older = manifest.ancestors
    model = SampleRNN(manifest.preset.model, manifest.preset.audio.codec)
    expected = {name: torch.empty_like(tensor, dtype=torch.half) for name, tensor in model.state_dict().items()}
    weights = read_tensors(folder / WEIGHTS, manifest.weights_sha256, expected, REMEDY)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    found = TrainedModel(model, manifest.preset, itself.preset, itself.step, itself.valid_bits, tuple(older))
    return found, manifest.ancestors
