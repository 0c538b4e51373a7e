"""The JSON file beside every clip: its recipe, how it came out, and where its model comes from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer.audio.measures import Measures
from slash_infer.bundle import Provenance
from slash_infer.choices import Bits, Normalise
from slash_infer.errors import UserError, first_fault
from slash_infer.files import read_json, write_json

MADE_BY: Literal["slash generate"] = "slash generate"
SCHEMA_VERSION: Literal[6] = 6
SIDECAR_LIMIT = 1 << 20
"""Bytes of the largest sidecar that is read: one has about a thousand."""
REMEDY = "make the clip again or move both files away"


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)  # later versions may add fields


class PrimeSource(_Record):
    """The recording that a clip continues."""

    file: str
    start: float
    """Seconds into the file."""
    seconds: float
    """Length of the prime, from there."""


class ClipRecipe(_Record):
    """Everything that the samples in a clip's file depend on, except their number.

    On another engine the same recipe gives the same clip, up to rounding.
    """

    manifest_sha256: Annotated[str, Field(title="bundle")]
    precision: str
    seed: int
    clip: int
    temperature: float | str
    """A number, or SECONDS:TEMPERATURE,..."""
    floor: float
    """Subtracted from the probabilities of all codes before each draw."""
    candidates: int
    """Draws of each block, of which one was chosen."""
    restart: bool
    """Whether the clip began anew where it was silent or stuck."""
    prime_sha256: Annotated[str | None, Field(title="prime")] = None
    """Of the codes that the clip continues, as little-endian int32."""
    include_prime: bool = False
    """Whether the file begins with the prime."""
    normalise: Normalise | None = None
    bits: Bits = 16
    """Of a sample in the file; 32 is float."""

    def difference(self, other: "ClipRecipe") -> str | None:
        """Return what differs first from another recipe, in words, or None."""
        for name, field in type(self).model_fields.items():
            if getattr(self, name) != getattr(other, name):
                return field.title or name.replace("_", " ")
        return None


class ClipHeard(_Record):
    """What the ear hears in a clip (`slash_infer.audio.ear`)."""

    harmonicity: float
    stuck: float
    onsets: float
    """Per second."""
    centroid: float
    """Hz."""
    distance: float | None
    """From the recordings that were learned; None where their values are unknown, or the clip is too short."""


class ClipOutcome(_Record):
    """How a clip came out."""

    seconds: float
    """Generated."""
    complete: bool
    """False when it was stopped before it had the length asked for."""
    bits_per_sample: float | None = None
    """Mean negative log2-likelihood of its samples, at the clip's temperature, before the floor."""
    measures: Measures | None = None
    heard: ClipHeard | None = None
    engine: str
    runtime: str
    slash_version: str
    clips_together: int = 1
    """Clips generated side by side."""
    realtime_batch: float | None = None
    """Seconds of audio per second of wall clock, over all of these."""
    again: str | None = None
    """The command that generates this clip again, by itself; None where the bundle no longer exists."""


class Sidecar(_Record):
    """The contents of a clip's sidecar."""

    made_by: Literal["slash generate"] = MADE_BY
    schema_version: Literal[6] = SCHEMA_VERSION
    sample_rate: int
    recipe: ClipRecipe
    outcome: ClipOutcome
    prime: PrimeSource | None = None
    provenance: Provenance
    """Of the bundle."""

    def with_measures(self, measures: Measures, heard: ClipHeard) -> "Sidecar":
        """Return the same sidecar with what was measured and heard in the clip."""
        outcome = ClipOutcome(**{**dict(self.outcome), "measures": measures, "heard": heard})
        return Sidecar(**{**dict(self), "outcome": outcome})

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_json(path, self.model_dump(mode="json"), made_by=MADE_BY)

    @classmethod
    def read(cls, path: Path) -> "Sidecar":
        """Read a clip's sidecar.

        Raises:
            UserError: it is missing, damaged, or something else.
        """
        content = read_json(path, "a clip's sidecar", REMEDY, limit=SIDECAR_LIMIT)
        if content.get("made_by") == MADE_BY and content.get("schema_version") != SCHEMA_VERSION:
            raise UserError(path, "was written by another version of Slash", REMEDY)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise UserError(path, f"is not the sidecar of a clip ({first_fault(error)})", REMEDY) from None


def sidecar_path(clip: Path) -> Path:
    """Return the path of a clip's sidecar."""
    return clip.with_suffix(".json")
