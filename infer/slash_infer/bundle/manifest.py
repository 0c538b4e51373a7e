"""`manifest.json`: what a bundle holds, file by file, and how it was checked. docs/bundle-format.md is its specification."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slash_infer.codec import Codec

MANIFEST = "manifest.json"
MADE_BY: Literal["slash export"] = "slash export"
SCHEMA_VERSION = 1

Precision = Literal["fp32", "int8", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

STATE_NAMES = {"lstm": ("h", "c"), "gru": ("h",)}  # tensors of a cell's state, as the graphs call them

Basename = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Strict):
    """A file of the bundle, by bare name."""

    file: Basename
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, lt=2**31)]  # protobuf holds no more


class FrameTierEntry(_Strict):
    """A frame tier: its clock and where its numbers are."""

    frame_size: Annotated[int, Field(ge=1)]
    """FS(k), samples consumed per step."""
    hop: Annotated[int, Field(ge=1)]
    """Samples it moves on per step: frame_size, or 1 where frames overlap."""
    upsampling: Annotated[int, Field(ge=1)]
    """r, conditioning vectors made per step."""
    cell: Literal["lstm", "gru"]
    layers: Annotated[int, Field(ge=1)]
    initial_state: FileEntry
    """float32 .npy [S, L, D]: h0, and c0 of an LSTM."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """The graph's state inputs; its outputs are the same with `_out`."""
        return STATE_NAMES[self.cell]


class SampleTierEntry(_Strict):
    """The sample tier."""

    history: Annotated[int, Field(ge=0)]
    """FS, codes it reads; 0 where its conditioning already is the logits, and it only draws."""


class Fidelity(_Strict):
    """How a variant compared with fp32 at export, each predicting the same audio sample by sample."""

    excerpt: Literal["validation", "generated"]
    """Recordings the model was not trained on, or, where those were not at hand, audio that fp32 generated."""
    samples: Annotated[int, Field(ge=1)]
    max_logit_difference: NotNegative
    mean_kl: NotNegative
    """Kullback-Leibler divergence from fp32's distribution to the variant's, nats per sample."""
    bits: NotNegative
    """The variant's bits per sample on the excerpt."""
    fp32_bits: NotNegative

    @property
    def loss(self) -> float:
        """Bits per sample lost to the precision."""
        return self.bits - self.fp32_bits


class Variant(_Strict):
    """The graphs in one precision."""

    precision: Precision
    frame_tiers: tuple[FileEntry, ...]
    """The lowest tier first."""
    sample_tier: FileEntry
    fidelity: Fidelity | None
    """None for fp32, and while the export that is making the bundle has yet to measure it."""

    def files(self) -> list[FileEntry]:
        """Its graphs."""
        return [*self.frame_tiers, self.sample_tier]


class Parity(_Strict):
    """How the fp32 graphs compared with the model they were made from, at export."""

    samples: Annotated[int, Field(ge=1)]
    """Samples at which both drew the same code: all that were compared, but for ties that rounding decides."""
    max_logit_difference: NotNegative
    """Largest absolute difference of a logit."""


class Provenance(_Strict):
    """Where the bundle comes from."""

    slash_version: str
    torch_version: str
    created: str
    """UTC, ISO 8601."""
    preset: str
    step: int
    """Optimiser steps the checkpoint had seen."""
    valid_bits: float | None
    """Its bits per sample on the validation split, if it was scored."""


class Manifest(_Strict):
    """The contents of `manifest.json`. Sample rate and codec are stated here and nowhere else."""

    made_by: Literal["slash export"] = MADE_BY
    schema_version: Literal[1]
    sample_rate: Annotated[int, Field(ge=1000, le=192_000)]
    codec: Codec
    width: Annotated[int, Field(ge=1)]
    """D, of every state and conditioning vector."""
    frame_tiers: Annotated[tuple[FrameTierEntry, ...], Field(min_length=1)]
    """The lowest tier first; tier k of the documentation is entry k - 1."""
    sample_tier: SampleTierEntry
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    """fp32 first."""
    parity: Parity | None
    """None only while the export that is making the bundle has yet to check it."""
    provenance: Provenance

    @model_validator(mode="after")
    def _clocks_fit_together(self) -> Self:
        below = 1
        for tier in self.frame_tiers:
            if tier.hop != below * tier.upsampling:
                raise ValueError("each hop must be upsampling times the one below")
            if tier.frame_size < tier.hop or tier.frame_size > self.top_frame:
                raise ValueError("each frame_size must be at least its hop, and the top one the largest")
            below = tier.hop
        if self.sample_tier.history not in (0, self.frame_tiers[0].frame_size):
            raise ValueError("sample_tier.history must be 0 or the lowest frame_size")
        return self

    @model_validator(mode="after")
    def _variants_fit_the_tiers(self) -> Self:
        precisions = [variant.precision for variant in self.variants]
        if precisions[0] != "fp32" or len(set(precisions)) != len(precisions):
            raise ValueError("variants must begin with fp32 and have each precision once")
        if any(len(variant.frame_tiers) != len(self.frame_tiers) for variant in self.variants):
            raise ValueError("each variant must have one graph for each frame tier")
        return self

    @property
    def top_frame(self) -> int:
        """Samples the top tier consumes per step: the history generation keeps."""
        return self.frame_tiers[-1].frame_size

    @property
    def top_hop(self) -> int:
        """Samples made per step of the top tier: the granularity of generation."""
        return self.frame_tiers[-1].hop

    def silence(self, clips: int) -> npt.NDArray[np.int32]:
        """The history that generation starts from, [clips, top_frame] codes."""
        return np.full((clips, self.top_frame), self.codec.silence, np.int32)

    def files(self) -> list[FileEntry]:
        """Every file the manifest names."""
        graphs = [entry for variant in self.variants for entry in variant.files()]
        return [*graphs, *(tier.initial_state for tier in self.frame_tiers)]


def describe_file(path: Path) -> FileEntry:
    """Return the manifest entry of a file that lies in a bundle."""
    content = path.read_bytes()
    return FileEntry(file=path.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
