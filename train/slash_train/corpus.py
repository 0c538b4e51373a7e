"""A prepared corpus on disk: one memory-mapped int16 array and a manifest.

The manifest, `corpus.json`, lists the recordings and the regions of `samples.npy` that belong to each split. The PCM
is mono at the corpus's sample rate and not yet quantised: one corpus serves every codec.
"""

import hashlib
import os
import re
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slash_infer.audio.limits import RATES
from slash_infer.errors import UserError, first_fault
from slash_infer.files import open_plain_file, read_json
from slash_train.choices import Channel, Scale, Split

SPLITS: tuple[Split, ...] = get_args(Split)
MANIFEST = "corpus.json"
REMEDY = "prepare the corpus again"
MADE_BY: Literal["slash prepare"] = "slash prepare"
SAMPLES = "samples.npy"
LARGEST = 1 << 42
"""Bytes of the largest `samples.npy`: more than two years at 16 kHz."""
READ_BYTES = 1 << 20
HEADER_BYTES = 256
_HEADER = re.compile(  # of the only kind of .npy that is written; numpy's own reader evaluates what is there
    rb"\x93NUMPY\x01\x00..\{'descr': '<i2', 'fortran_order': False, 'shape': \((\d{1,19}),\), \} *\n", re.DOTALL
)
MODEL = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
SHA256 = r"^[0-9a-f]{64}$"


class Region(BaseModel):
    """A contiguous part of one recording that belongs to one split; `start` is an index into `samples.npy`."""

    model_config = MODEL

    split: Split
    start: int = Field(ge=0)
    length: int = Field(ge=1)


class Recording(BaseModel):
    """One source file, and what was measured in it."""

    model_config = MODEL

    name: str = Field(min_length=1)
    sha256: str = Field(pattern=SHA256)
    """Of the decoded audio: equal for the same audio in another format."""
    source_rate: int = Field(ge=RATES[0], le=RATES[-1])
    """Sample rate of the source in Hz."""
    peak: float = Field(ge=0)
    """Largest absolute sample after resampling and before the gain; 1 is full scale."""
    level_db: float
    """Root mean square, without an offset from zero and before the gain, in dB of full scale; at least -200."""
    clipped: int = Field(ge=0)
    """Number of source samples at full scale."""
    silent_seconds: float = Field(ge=0)
    """Total length of the 50 ms blocks whose peak is below -60 dBFS."""
    remarks: tuple[str, ...] = ()
    """What is odd about it."""
    regions: tuple[Region, ...] = Field(min_length=1)

    @property
    def length(self) -> int:
        """Length in samples at the corpus's rate."""
        return sum(region.length for region in self.regions)


class LeftOutRecording(BaseModel):
    """A source file that could not be used."""

    model_config = MODEL

    name: str
    why: str


class CorpusManifest(BaseModel):
    """The contents of `corpus.json`."""

    model_config = MODEL

    made_by: Literal["slash prepare"] = MADE_BY
    schema_version: Literal[3] = 3
    sample_rate: int = Field(ge=1000, le=192_000)
    channel: Channel
    scale: Scale
    gain_db: float | None
    """Gain applied to every recording alike; None where each has its own."""
    offsets_removed: bool
    """Whether offsets from zero were taken out."""
    samples_sha256: str = Field(pattern=SHA256)
    """Of the file `samples.npy`."""
    recordings: tuple[Recording, ...] = Field(min_length=1)
    left_out: tuple[LeftOutRecording, ...] = ()

    @model_validator(mode="after")
    def _regions_tile_the_samples(self) -> Self:
        regions = [region for recording in self.recordings for region in recording.regions]
        starts = accumulate((region.length for region in regions), initial=0)
        if any(region.start != start for region, start in zip(regions, starts, strict=False)):
            raise ValueError("regions must follow one another without gap or overlap")
        return self

    @model_validator(mode="after")
    def _one_gain_is_of_the_corpus(self) -> Self:
        if (self.gain_db is None) != (self.scale == "recording"):
            raise ValueError("there is one gain where the corpus has one scale")
        return self

    @model_validator(mode="after")
    def _recordings_add_up(self) -> Self:
        names = [recording.name for recording in self.recordings]
        if len(set(names)) < len(names):
            raise ValueError("two recordings have the same name")
        for recording in self.recordings:
            if recording.silent_seconds * self.sample_rate > recording.length + 1:
                raise ValueError(f"{recording.name} is silent for longer than it is")
        return self

    def regions(self, split: Split) -> list[Region]:
        """Return the regions of a split, in the order of the recordings."""
        return [region for recording in self.recordings for region in recording.regions if region.split == split]

    def length(self, split: Split) -> int:
        """Return the number of samples in a split."""
        return sum(region.length for region in self.regions(split))


class Corpus:
    """A corpus opened for reading. The samples stay on disk: `pcm` is memory-mapped.

    They are compared with their checksum first, at a gigabyte or two (some ten hours at 16 kHz) per second.

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
            raise UserError(path / MANIFEST, first_fault(error), REMEDY) from None
        expected = sum(self.manifest.length(split) for split in SPLITS)
        self.pcm = _open_samples(path / SAMPLES, expected, self.manifest.samples_sha256)

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


def _open_samples(path: Path, length: int, sha256: str) -> npt.NDArray[np.int16]:
    """Map `length` samples, int16, after a check of the file's header and checksum.

    Raises:
        UserError: the file does not hold them.
    """
    try:
        with open_plain_file(path, "a corpus's samples", REMEDY, limit=LARGEST) as file:
            header = _HEADER.match(file.read(HEADER_BYTES))
            there = os.fstat(file.fileno()).st_size
            if header is None or int(header[1]) != length or there != header.end() + 2 * length:
                raise UserError(path, f"is damaged: it is not the {length:,} samples of {MANIFEST}", REMEDY)
            file.seek(0)
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(READ_BYTES), b""):
                digest.update(block)
            if digest.hexdigest() != sha256:
                raise UserError(path, f"is damaged: its checksum is not the one in {MANIFEST}", REMEDY)
            return np.memmap(file, np.dtype("<i2"), "r", header.end(), (length,))
    except FileNotFoundError:
        raise UserError(path.parent, f"is damaged: it has no {path.name}", REMEDY) from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", REMEDY) from None
