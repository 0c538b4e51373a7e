"""The JSON beside every clip: all that it is a function of, how it came out, and the command that makes it again."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer.audio.audio_files import Bits
from slash_infer.audio.measures import Measures
from slash_infer.audio.normalisation import Normalise
from slash_infer.bundle import Provenance
from slash_infer.errors import UserError, first_fault
from slash_infer.files import read_json, write_json

MADE_BY: Literal["slash generate"] = "slash generate"

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # what a later Slash adds does no harm


class PrimeSource(_Page):
    """The recording that a clip continues."""

    file: str
    start: Finite
    """Seconds into the file."""
    seconds: Finite
    """Heard from there."""
    sha256: str
    """Of the codes that the model heard, as little-endian int32."""


class Sidecar(_Page):
    """A clip's page. Fields that have a default are missing from pages that earlier versions wrote."""

    made_by: Literal["slash generate"] = MADE_BY
    seed: int
    clip: int
    alone: bool = False
    """Whether it was made as one row: in int8 on the CPU, that rounds differently."""
    temperature: Finite | str
    """A number, or SECONDS:TEMPERATURE,..."""
    seconds: Finite
    """Generated."""
    complete: bool = True
    """False when it was stopped before it had the length asked for."""
    prime: PrimeSource | None = None
    include_prime: bool = False
    """Whether the file begins with the prime."""
    normalise: Normalise | None = None
    bits: Bits = 16
    """Of a sample in the file; 32 is float."""
    bits_per_sample: Finite | None = None
    """How unlikely the model found what it drew, at the clip's temperature."""
    measures: Measures | None = None
    sample_rate: int
    engine: str
    precision: str
    runtime: str
    slash_version: str
    manifest_sha256: str
    provenance: Provenance
    clips_together: int = 1
    """Made side by side."""
    realtime_batch: Finite | None = None
    """Seconds of audio per second of wall clock, over those."""
    again: str | None = None
    """The command that makes this clip again, alone; None where its bundle is gone."""

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> "Sidecar":
        """Read a clip's page.

        Raises:
            UserError: it is missing, damaged, or something else.
        """
        content = read_json(path, "a clip's page")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise UserError(path, f"is not the page of a clip ({first_fault(error)})") from None
