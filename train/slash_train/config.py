"""The configuration of a run: audio format, model shape and training recipe. Presets are TOML, validated strictly."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from slash_infer.codec import Codec
from slash_infer.errors import Argument, UserError, nearest

# The limit is far beyond any machine's memory: it catches typing errors.
Count = Annotated[int, Field(ge=1, le=65536)]
Layers = Annotated[int, Field(ge=1, le=64)]
Steps = Annotated[int, Field(ge=1, le=2**40)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


LONGEST_VALUE = 100
"""Characters of a value in text: enough for every setting, and too few for what would exhaust a parser."""


class MayChange:
    """Marks, in `Annotated`, a setting that may change when a run is resumed.

    The weights or the order of the data depend on all other settings.
    """


MAY_CHANGE = MayChange()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AudioConfig(_Strict):
    """The format of the audio that the model reads and generates."""

    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000  # Hz
    codec: Codec = Codec()


class ModelConfig(_Strict):
    """The shape of a SampleRNN (arXiv 1612.07837)."""

    hops: tuple[Count, ...] = Field(default=(16,), min_length=1, strict=False)
    """hop(k) in samples of frame tier k = 1, 2, ..., the lowest tier first: what a step moves on by. Each divides the
    next."""
    frame_sizes: tuple[Count, ...] = Field(default=(), strict=False)
    """FS(k) in samples of frame tier k: what a step sees, its hop or more. The hops if not given, as in the paper."""
    history: Annotated[int, Field(ge=0, le=65536)] = 0
    """Codes that the sample tier sees. hop(1) if not given, as in the paper; 0 without a sample tier."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell of the frame tiers."""
    rnn_layers: Layers = 3
    """Recurrent layers per frame tier."""
    skip_connections: bool = False
    """The tier's input feeds every recurrent layer, and every recurrent layer feeds the tier's output."""
    width: Count = 1024
    """D: the size of every recurrent layer, MLP layer and conditioning vector."""
    embedding: Count = 256
    """E: width of a code's embedding in the sample tier."""
    mlp_layers: Annotated[int, Field(ge=0, le=64)] = 3
    """Layers of the sample tier before its output layer; the first has no activation. 0 omits the sample tier: the
    lowest frame tier then predicts the samples of a hop all at once, independently of each other."""
    weight_norm: bool = False
    """Weight normalisation (Salimans and Kingma 2016) on every linear layer."""

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if not self.frame_sizes:
            object.__setattr__(self, "frame_sizes", self.hops)
        if not self.history and self.mlp_layers:
            object.__setattr__(self, "history", self.hops[0])
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        for lower, upper in zip(self.hops, self.hops[1:], strict=False):
            if upper <= lower or upper % lower:
                raise ValueError("hops must grow from the lowest tier up, each dividing the next")
        if len(self.frame_sizes) != len(self.hops):
            raise ValueError(f"frame_sizes must have a size for each of the {len(self.hops)} hops")
        if any(frame < hop for frame, hop in zip(self.frame_sizes, self.hops, strict=True)):
            raise ValueError("frame_sizes must not be smaller than the hops")
        if self.mlp_layers == 1:
            raise ValueError("mlp_layers must be 0, for no sample tier, or 2 and more")
        if self.history and not self.mlp_layers:
            raise ValueError("history is what the sample tier sees, and mlp_layers = 0 omits it")
        if self.skip_connections and self.rnn_layers == 1:
            raise ValueError("skip_connections needs rnn_layers of 2 or more")
        return self

    @property
    def context(self) -> int:
        """Codes that a step needs at most: before the beginning of a clip they are silence."""
        return max(*self.frame_sizes, self.history)

    @property
    def top_hop(self) -> int:
        """Samples the top tier advances per step: the length of a window is a multiple of it."""
        return self.hops[-1]


class TrainingConfig(_Strict):
    """The recipe: truncated back-propagation through time (TBPTT)."""

    batch_size: Count = 64
    """Lanes: clips trained in parallel, each with its own RNN state."""
    window: Annotated[int, Field(ge=1, le=2**22)] = 1024
    """Samples of each clip per step, the length of truncated BPTT. A multiple of the top tier's hop."""
    clip_seconds: Seconds = 8.0
    """Recordings are cut into clips of at most this length, shorter ones where lanes would be left without. The RNN
    state is reset at the start of a clip."""
    longest_pause: Annotated[float, Field(gt=0, le=86400)] = 0.5
    """Seconds. Longer pauses in recordings are shortened to this, and silence at their ends is left out: a model that
    hears it falls silent for good. Silent is what stays 40 dB below the recording's mean level."""
    augment_semitones: Annotated[int, Field(ge=0, le=12)] = 0
    """Each time a clip is played, it is resampled to a pitch at most this far up or down, by whole semitones."""
    optimiser: Literal["adam", "muon"] = "adam"
    """Muon: for the matrices between layers, with Adam for everything else."""
    learning_rate: Annotated[PositiveFloat, MAY_CHANGE] = 1e-3
    """Adam's learning rate after warm-up."""
    muon_learning_rate: Annotated[PositiveFloat, MAY_CHANGE] = 0.02
    """Muon's learning rate after warm-up, about the singular values of an update."""
    warmup_steps: Annotated[int, Field(ge=0, le=2**40), MAY_CHANGE] = 0
    """Steps over which the learning rates rise linearly from 0."""
    decay_after: Annotated[int, Field(ge=0, le=2**40), MAY_CHANGE] = 0
    """Steps after which the learning rates fall with the inverse square root of the step, however long the training
    goes on; 0 for never."""
    cooldown: Annotated[float, Field(ge=0, le=1), MAY_CHANGE] = 0.0
    """The last share of the training, by steps or minutes, over which the learning rates fall linearly to 0."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the exponential moving average (EMA) of the weights; 0 for none. The EMA is what is
    validated, previewed and exported. Early steps decay faster."""
    clip_norm: Annotated[PositiveFloat, MAY_CHANGE] = 1.25
    """Gradients are scaled down to at most this global norm."""
    steps: Annotated[Steps, MAY_CHANGE] = 100_000
    """Optimiser steps of the whole run where no other limit is given."""
    checkpoint_every: Annotated[Steps, MAY_CHANGE] = 1000
    """Steps between validations, each followed by a checkpoint."""
    valid_seconds: Annotated[Seconds, MAY_CHANGE] = 60.0
    """How much of the validation split is scored at each checkpoint, at most."""
    keep: Annotated[int, Field(ge=0, le=65536), MAY_CHANGE] = 5
    """Checkpoints to keep besides the best and the last, evenly spaced over the run."""
    preview_clips: Annotated[int, Field(ge=0, le=64), MAY_CHANGE] = 2
    """Clips to generate at each checkpoint, always from the same seed; 0 for none."""
    preview_seconds: Annotated[float, Field(ge=0.1, le=600), MAY_CHANGE] = 2.0
    """Length of each preview clip."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], MAY_CHANGE] = "auto"
    """Precision of matrix products; weights, optimiser and RNN state stay float32. Auto: bf16 on devices with
    instructions for it, else fp32."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial weights and of the order of the clips."""


class Preset(_Strict):
    """One complete configuration."""

    audio: AudioConfig = AudioConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _recipe_fits_the_model(self) -> Self:
        if self.training.window % self.model.top_hop:
            raise ValueError(f"training.window must be a multiple of the top tier's hop, {self.model.top_hop}")
        if self.model.weight_norm and self.training.optimiser == "muon":
            raise ValueError(
                "training.optimiser must be adam with model.weight_norm, as Muon normalises updates itself"
            )
        return self


def require_resumable(old: Preset, new: Preset, run: Path) -> None:
    """Check that a run with the configuration `old` can be resumed with `new`.

    Args:
        old: the run's configuration.
        new: the configuration to continue with.
        run: the run's directory, for the message.

    Raises:
        UserError: a setting differs that is not marked `MayChange`; the message lists all of these.
    """
    if differences := fixed_differences(old, new):
        raise UserError(run, f"cannot go on with another configuration: {'; '.join(differences)}", "start a new run")


def fixed_differences(old: Preset, new: Preset) -> list[str]:
    """Return in words each setting that differs and that is not marked `MayChange`."""
    before, after = _by_key(old), _by_key(new)
    changeable = {key for key, field in _leaf_fields(Preset) if MAY_CHANGE in field.metadata}
    return [
        f"{key} is {before[key]}, not {after[key]}"
        for key in before
        if before[key] != after[key] and key not in changeable
    ]


def _by_key(preset: Preset) -> dict[str, Any]:
    return {key: _at(preset, key) for key, _ in _leaf_fields(Preset)}


def _at(settings: Any, key: str) -> Any:
    """Return a setting by its dotted key, as JSON has it."""
    for name in key.split("."):
        settings = getattr(settings, name)
    return list(settings) if isinstance(settings, tuple) else settings


def preset_names() -> list[str]:
    """Return the names of the presets that come with Slash."""
    files = resources.files("slash_train").joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_preset(name: str, overrides: Sequence[str] = ()) -> Preset:
    """Read the preset called `name` and apply `overrides`, texts such as `training.batch_size=8`.

    Raises:
        UserError: no such preset, an unknown key, or a value out of range or of the wrong type; the message suggests
            the nearest existing name.
    """
    if name not in preset_names():
        raise UserError(None, f"preset '{_shortened(name)}' does not exist", nearest(name, preset_names()))
    text = resources.files("slash_train").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return _change(tomllib.loads(text), overrides, source=f"preset '{name}'")


def change_preset(preset: Preset, overrides: Sequence[str]) -> Preset:
    """Return a copy of `preset` with `overrides` applied.

    Raises:
        UserError: as for `load_preset`.
    """
    return _change(preset.model_dump(mode="json"), overrides, source="the run's configuration")


def _change(tables: dict[str, Any], overrides: Sequence[str], source: str) -> Preset:
    for override in overrides:
        _apply(tables, override)
    return parse_preset(tables, source)


def parse_preset(tables: dict[str, Any], source: str) -> Preset:
    """Validate `tables`, parsed from TOML or JSON; `source` names them in the error.

    Raises:
        UserError: an unknown key, or a value out of range or of the wrong type.
    """
    try:
        return Preset.model_validate(tables)
    except ValidationError as error:
        raise UserError(source, *_first_fault(error)) from None


def _apply(tables: dict[str, Any], override: str) -> None:
    """Set one dotted key of `tables` in place, from text like `training.batch_size=8`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        argument = Argument("overrides", _shortened(override))
        raise UserError(argument, "write it as key=value, for example training.batch_size=8")
    _check_key(key)
    value = _parse(key, text)
    *path, last = key.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
    tables[last] = value


def _parse(key: str, text: str) -> Any:
    """Return the value that the text behind a key stands for."""
    if len(text) > LONGEST_VALUE:
        raise UserError(Argument("overrides", key), f"{len(text):,} characters, and {LONGEST_VALUE} are the most")
    if not text.isprintable() or "#" in text:
        raise UserError(Argument("overrides", key), "takes one value, in one line and without a comment")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string


def _check_key(key: str) -> None:
    keys = [name for name, _ in _leaf_fields(Preset)]
    if key not in keys:
        raise UserError(Argument("overrides", _shortened(key)), "no such key", nearest(key, keys))


def _leaf_fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    """Return every settable key of `model`, dotted, with its field."""
    leaves: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            leaves += _leaf_fields(field.annotation, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", field))
    return leaves


def _first_fault(error: ValidationError) -> tuple[str, str | None]:
    """Return the first fault found by a validation, and for an unknown key the nearest existing one as the remedy."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key", nearest(key, [name for name, _ in _leaf_fields(Preset)])
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": "), None


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
