"""What a run is made of: audio format, model shape, training recipe. Read from TOML presets, strictly."""

import difflib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slash_infer.codec import Codec
from slash_infer.errors import UserError

Count = Annotated[int, Field(ge=1, le=65536)]  # far beyond what any machine holds: catches slips of the hand
Layers = Annotated[int, Field(ge=1, le=64)]
Steps = Annotated[int, Field(ge=1, le=2**40)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AudioConfig(_Strict):
    """The format the model hears and speaks."""

    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000  # Hz
    codec: Codec = Codec()


class ModelConfig(_Strict):
    """The shape of a SampleRNN (arXiv 1612.07837)."""

    frame_sizes: tuple[Count, ...] = Field(default=(16,), min_length=1, strict=False)
    """FS(k) in samples of frame tier k = 1, 2, ..., the lowest tier first; each divides the next."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent unit of the frame tiers."""
    rnn_layers: Layers = 3
    """Recurrent layers in every frame tier."""
    skip_connections: bool = False
    """Every recurrent layer sees the tier's input, and all of them its output."""
    width: Count = 1024
    """D: units of every recurrent layer, MLP layer and conditioning vector."""
    embedding: Count = 256
    """E: width of a code's embedding in the sample tier."""
    mlp_layers: Annotated[int, Field(ge=0, le=64)] = 3
    """Layers of the sample tier before its output layer; the first has no activation. 0 leaves the sample tier
    out: the lowest frame tier gives the logits of its samples at once, none seeing the others."""
    overlapping: bool = False
    """The one frame tier moves on by one sample per step, so that its frames overlap. Needs mlp_layers = 0."""
    weight_norm: bool = False
    """Weight normalisation (Salimans and Kingma 2016) of every linear layer."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        for lower, upper in zip(self.frame_sizes, self.frame_sizes[1:], strict=False):
            if upper <= lower or upper % lower:
                raise ValueError("frame_sizes must grow from the lowest tier up, each dividing the next")
        if self.mlp_layers == 1:
            raise ValueError("mlp_layers must be 0, for no sample tier, or 2 and more")
        if self.overlapping and (self.mlp_layers or len(self.frame_sizes) > 1):
            raise ValueError("overlapping needs one frame size and mlp_layers = 0")
        if self.skip_connections and self.rnn_layers == 1:
            raise ValueError("skip_connections needs rnn_layers of 2 or more")
        return self

    @property
    def hops(self) -> tuple[int, ...]:
        """Samples each frame tier moves on per step, the lowest first."""
        return (1,) if self.overlapping else self.frame_sizes

    @property
    def top_frame(self) -> int:
        """Samples the top tier consumes per step: the history a model needs."""
        return self.frame_sizes[-1]

    @property
    def top_hop(self) -> int:
        """Samples the top tier moves on per step: a window is a multiple of it."""
        return self.hops[-1]


class TrainingConfig(_Strict):
    """The recipe: truncated back-propagation through time with Adam."""

    batch_size: Count = 64
    """Clips trained in parallel, each with its own carried LSTM state."""
    window: Annotated[int, Field(ge=1, le=2**22)] = 1024
    """Samples of each clip per step: the length of truncated BPTT. A multiple of the top frame size."""
    clip_seconds: Seconds = 8.0
    """Recordings are cut into clips of this length; the state is reset at a clip's start."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's, at its highest."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Cosine: from learning_rate down to a twentieth of it at step `steps`, where it stays."""
    warmup_steps: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Steps over which the learning rate rises from 0."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay, per step, of the exponential moving average of the weights that is scored, heard and exported in place
    of the newest weights; 0 for none. Early steps decay faster."""
    clip_norm: PositiveFloat = 1.25
    """Largest global norm of the gradient."""
    steps: Steps = 100_000
    """Optimiser steps when neither --steps nor --minutes is given; --steps at the start of a run sets it."""
    checkpoint_every: Steps = 1000
    """Steps between validations, each followed by a checkpoint."""
    valid_seconds: Seconds = 60.0
    """At most this much of the validation split is scored at each checkpoint."""
    keep: Annotated[int, Field(ge=0, le=65536)] = 5
    """Checkpoints to keep besides the best and the last, spread evenly over the run."""
    preview_clips: Annotated[int, Field(ge=0, le=64)] = 2
    """Clips to generate at each checkpoint, always from the same seeds; 0 for none."""
    preview_seconds: Annotated[float, Field(ge=0.1, le=600)] = 2.0
    """Length of each."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the products; weights, optimiser and state stay float32."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Fixes the initial weights and the order of the clips."""


class Preset(_Strict):
    """One complete configuration."""

    audio: AudioConfig = AudioConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _window_holds_whole_frames(self) -> Self:
        if self.training.window % self.model.top_hop:
            raise ValueError(f"training.window must be a multiple of the top frame size, {self.model.top_hop}")
        return self


CHANGEABLE = {
    f"training.{name}"
    for name in (
        *("learning_rate", "schedule", "warmup_steps", "clip_norm", "steps", "checkpoint_every", "valid_seconds"),
        *("keep", "preview_clips", "preview_seconds", "precision"),
    )
}  # in a run that has begun; all else its weights or its data position depend on


def require_resumable(old: Preset, new: Preset, run: Path) -> None:
    """Check that a run of one configuration may go on with another.

    Raises:
        UserError: it may not; the message shows every difference that stands in the way.
    """
    before, after = _flat(old), _flat(new)
    differences = [
        f"{key} is {before[key]}, not {after[key]}"
        for key in before
        if before[key] != after[key] and key not in CHANGEABLE
    ]
    if differences:
        raise UserError(run, f"cannot go on with another configuration: {'; '.join(differences)}", "start a new run")


def _flat(preset: Preset) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section, values in preset.model_dump(mode="json").items()
        for name, value in values.items()
    }


def preset_names() -> list[str]:
    """Return the names `--preset` takes."""
    files = resources.files("slash_train").joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_preset(name: str, overrides: Sequence[str] = ()) -> Preset:
    """Read the preset called `name` and change it by `key=value` texts such as `training.batch_size=8`.

    Raises:
        UserError: no such preset, an unknown key, a value out of range or of the wrong type; the message
            names the nearest right name.
    """
    if name not in preset_names():
        raise UserError(f"preset '{name}' does not exist{_nearest(name, preset_names())}")
    text = resources.files("slash_train").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return _change(tomllib.loads(text), overrides, source=f"preset '{name}'")


def change_preset(preset: Preset, overrides: Sequence[str]) -> Preset:
    """Return a copy of `preset` with `key=value` changes.

    Raises:
        UserError: as `load_preset`.
    """
    return _change(preset.model_dump(mode="json"), overrides, source="the run's configuration")


def _change(tables: dict[str, Any], overrides: Sequence[str], source: str) -> Preset:
    for override in overrides:
        _apply(tables, override)
    return parse_preset(tables, source)


def parse_preset(tables: dict[str, Any], source: str) -> Preset:
    """Validate `tables`, as TOML or JSON gives them; `source` names them in the error."""
    try:
        return Preset.model_validate(tables)
    except ValidationError as error:
        raise UserError(source, f"{_first_fault(error)}") from None


def _apply(tables: dict[str, Any], override: str) -> None:
    """Set one dotted key of `tables` in place, from text like `training.batch_size=8`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"`set` {override}", "write it as key=value, for example training.batch_size=8")
    _check_key(key)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *path, last = key.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
    tables[last] = value


def _check_key(key: str) -> None:
    keys = [name for name, _ in _leaf_fields(Preset)]
    if key not in keys:
        raise UserError(f"`set` {key}", f"no such key{_nearest(key, keys)}")


def _leaf_fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    """Every settable key of `model`, dotted, with its type."""
    leaves: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            leaves += _leaf_fields(field.annotation, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", field.annotation))
    return leaves


def _first_fault(error: ValidationError) -> str:
    """Say the first fault of a validation in one line, with the nearest right name for an unknown key."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key{_nearest(key, [name for name, _ in _leaf_fields(Preset)])}"
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def _nearest(name: str, choices: list[str]) -> str:
    """Return '; did you mean X?' or, when nothing is near, the list of choices."""
    near = difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; choose from {', '.join(choices)}"
