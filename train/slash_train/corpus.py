"""A prepared corpus on disk: one memory-mapped int16 array, and a page that says what is where.

`corpus.json` lists the files and the regions of `samples.npy` that belong to each split. The PCM is mono at the
corpus's sample rate and not yet quantised, so that one corpus serves every codec.
"""

import hashlib
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slash_infer.errors import UserError, first_fault
from slash_infer.files import read_json

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
PAGE = "corpus.json"
MADE_BY: Literal["slash prepare"] = "slash prepare"
SAMPLES = "samples.npy"


class Region(BaseModel):
    """A stretch of one recording that belongs to one split; positions count samples of `samples.npy`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    start: int = Field(ge=0)
    length: int = Field(ge=1)


class Recording(BaseModel):
    """One source file as it went in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source_rate: int
    peak: float
    """Largest absolute sample after resampling, before the corpus-wide gain; 1 is full scale."""
    clipped: int
    """Source samples at full scale."""
    silent_seconds: float
    """Time below -60 dBFS, in blocks of 50 ms."""
    regions: tuple[Region, ...]

    @property
    def length(self) -> int:
        """Samples at the corpus's rate."""
        return sum(region.length for region in self.regions)


class CorpusManifest(BaseModel):
    """The contents of `corpus.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_by: Literal["slash prepare"] = MADE_BY
    schema_version: Literal[1] = 1
    sample_rate: int = Field(ge=1000, le=192_000)
    channel: Literal["mix", "left", "right"]
    gain_db: float
    """The one gain applied to every recording."""
    recordings: tuple[Recording, ...]

    @model_validator(mode="after")
    def _regions_tile_the_samples(self) -> Self:
        regions = [region for recording in self.recordings for region in recording.regions]
        starts = accumulate((region.length for region in regions), initial=0)
        if any(region.start != start for region, start in zip(regions, starts, strict=False)):
            raise ValueError("regions must follow one another without gap or overlap")
        return self

    def regions(self, split: Split) -> list[Region]:
        """The regions of a split, in the order of the recordings."""
        return [region for recording in self.recordings for region in recording.regions if region.split == split]

    def length(self, split: Split) -> int:
        """Samples in a split."""
        return sum(region.length for region in self.regions(split))


class Corpus:
    """A corpus opened for reading. The samples stay on disk; slices of `pcm` are read as they are used.

    Args:
        path: the directory `slash prepare` made.

    Raises:
        UserError: not a corpus, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path / PAGE, "a corpus; make one with: slash prepare SRC --out CORPUS")
        try:
            self.page = CorpusManifest.model_validate(content)
        except ValidationError as error:
            raise UserError(path / PAGE, f"{first_fault(error)}", "prepare the corpus again") from None
        try:
            self.pcm: npt.NDArray[np.int16] = np.load(path / SAMPLES, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(path / SAMPLES, f"cannot be read ({error})", "prepare the corpus again") from None
        expected = sum(self.page.length(split) for split in SPLITS)
        if self.pcm.dtype != np.int16 or self.pcm.shape != (expected,):
            raise UserError(path / SAMPLES, f"does not match {PAGE}", "prepare the corpus again")

    def fingerprint(self) -> str:
        """Return the sha256 of `corpus.json`: the same for the same recordings prepared the same way."""
        return hashlib.sha256((self.path / PAGE).read_bytes()).hexdigest()

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.page.sample_rate

    def regions(self, split: Split) -> list[Region]:
        """The regions of a split, in the order of the recordings."""
        return self.page.regions(split)

    def length(self, split: Split) -> int:
        """Samples in a split."""
        return self.page.length(split)
