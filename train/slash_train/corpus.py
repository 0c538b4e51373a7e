"""A prepared corpus on disk: one memory-mapped int16 array and a manifest.

The manifest, `corpus.json`, lists the recordings and the regions of `samples.npy` that belong to each split. The PCM
is mono at the corpus's sample rate and not yet quantised: one corpus serves every codec.
"""

import hashlib
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slash_infer.errors import UserError, first_fault
from slash_infer.files import read_json
from slash_train.choices import Channel, Split

SPLITS: tuple[Split, ...] = get_args(Split)
MANIFEST = "corpus.json"
MADE_BY: Literal["slash prepare"] = "slash prepare"
SAMPLES = "samples.npy"


class Region(BaseModel):
    """A contiguous part of one recording that belongs to one split; `start` is an index into `samples.npy`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    start: int = Field(ge=0)
    length: int = Field(ge=1)


class Recording(BaseModel):
    """One source file, and what was measured in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source_rate: int
    """Sample rate of the source in Hz."""
    peak: float
    """Largest absolute sample after resampling and before the gain; 1 is full scale."""
    clipped: int
    """Number of source samples at full scale."""
    silent_seconds: float
    """Total length of the 50 ms blocks whose peak is below -60 dBFS."""
    regions: tuple[Region, ...]

    @property
    def length(self) -> int:
        """Length in samples at the corpus's rate."""
        return sum(region.length for region in self.regions)


class CorpusManifest(BaseModel):
    """The contents of `corpus.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_by: Literal["slash prepare"] = MADE_BY
    schema_version: Literal[1] = 1
    sample_rate: int = Field(ge=1000, le=192_000)
    channel: Channel
    gain_db: float
    """Gain applied to every recording alike."""
    recordings: tuple[Recording, ...]

    @model_validator(mode="after")
    def _regions_tile_the_samples(self) -> Self:
        regions = [region for recording in self.recordings for region in recording.regions]
        starts = accumulate((region.length for region in regions), initial=0)
        if any(region.start != start for region, start in zip(regions, starts, strict=False)):
            raise ValueError("regions must follow one another without gap or overlap")
        return self

    def regions(self, split: Split) -> list[Region]:
        """Return the regions of a split, in the order of the recordings."""
        return [region for recording in self.recordings for region in recording.regions if region.split == split]

    def length(self, split: Split) -> int:
        """Return the number of samples in a split."""
        return sum(region.length for region in self.regions(split))


class Corpus:
    """A corpus opened for reading. The samples stay on disk: `pcm` is memory-mapped.

    Args:
        path: a directory made by `slash prepare`.

    Raises:
        UserError: the directory is not a corpus, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path / MANIFEST, "a corpus", "make one with slash prepare")
        try:
            self.manifest = CorpusManifest.model_validate(content)
        except ValidationError as error:
            raise UserError(path / MANIFEST, first_fault(error), "prepare the corpus again") from None
        try:
            self.pcm: npt.NDArray[np.int16] = np.load(path / SAMPLES, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(path / SAMPLES, f"cannot be read ({error})", "prepare the corpus again") from None
        expected = sum(self.manifest.length(split) for split in SPLITS)
        if self.pcm.dtype != np.int16 or self.pcm.shape != (expected,):
            raise UserError(path / SAMPLES, f"does not match {MANIFEST}", "prepare the corpus again")

    def fingerprint(self) -> str:
        """Return the SHA-256 of `corpus.json`: the same recordings prepared in the same way give the same one."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self.manifest.sample_rate

    def regions(self, split: Split) -> list[Region]:
        """Return the regions of a split, in the order of the recordings."""
        return self.manifest.regions(split)

    def length(self, split: Split) -> int:
        """Return the number of samples in a split."""
        return self.manifest.length(split)
