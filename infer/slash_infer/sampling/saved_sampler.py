"""A sampler on disk: one .npz file with everything that its clips' future depends on. No pickle."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer.bundle import Bundle, Manifest, Precision
from slash_infer.errors import UserError, first_fault, first_line
from slash_infer.files import atomic_file, open_plain_file, sweep
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import HISTORY, GenerationState
from slash_infer.sampling.defaults import MOST_CANDIDATES
from slash_infer.sampling.floor import highest_floor
from slash_infer.sampling.steering import Steering
from slash_infer.sampling.temperature import TemperatureSchedule

Arrays = Mapping[str, npt.NDArray[Any]]
Kind = tuple[str, tuple[int, ...]]  # type and shape of an array
Key = Annotated[int, Field(ge=0, lt=2**64)]

MADE_BY: Literal["slash_infer.Sampler"] = "slash_infer.Sampler"
LIMIT = 4 << 30
"""Bytes of the largest file that is read."""
REMEDY, NOT_SAVED = "save it again", "is not a sampler that was saved"
METADATA, CODES, NLL, NLL_SUM = "metadata", "buffered.codes", "buffered.nll", "nll_sum"


class _Metadata(BaseModel):
    """The fields that are no arrays, stored as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_by: Literal["slash_infer.Sampler"] = MADE_BY
    schema_version: Literal[7] = 7
    manifest_sha256: str
    seed: Key
    clips: Annotated[list[Key], Field(min_length=1)]
    batch_invariant: bool
    temperature: list[Annotated[tuple[tuple[float, float], ...], Field(min_length=1)]]
    """The points of each clip's schedule."""
    floor: float
    candidates: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)]
    restart: bool
    generated: Annotated[int, Field(ge=0, lt=2**62)]
    precision: Precision


@dataclass(frozen=True)
class SavedSampler:
    """The fields of a `slash_infer.sampling.sampler.Sampler`."""

    manifest_sha256: str
    seed: int
    clips: list[int]
    batch_invariant: bool
    temperature: list[TemperatureSchedule]
    floor: float
    candidates: int
    restart: bool
    steering: Arrays
    """Those of a `Steering`; none without one."""
    generated: int
    """Samples of every clip so far."""
    buffered: Generated
    """Of these, the ones not asked for yet."""
    nll_sum: npt.NDArray[np.float64]
    """Over those asked for, in nats, [clips]."""
    state: GenerationState
    precision: Precision

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        metadata = _Metadata(
            manifest_sha256=self.manifest_sha256,
            seed=self.seed,
            clips=self.clips,
            batch_invariant=self.batch_invariant,
            temperature=[schedule.points for schedule in self.temperature],
            floor=self.floor,
            candidates=self.candidates,
            restart=self.restart,
            generated=self.generated,
            precision=self.precision,
        )
        arrays = {
            METADATA: np.array(metadata.model_dump_json()),
            CODES: self.buffered.codes,
            NLL: self.buffered.nll,
            NLL_SUM: self.nll_sum,
            **self.steering,
            **self.state.arrays(),
        }
        sweep([path])
        with atomic_file(path, force=True, argument="path") as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path, bundle: Bundle) -> "SavedSampler":
        """Read what `write` wrote for this bundle.

        Raises:
            UserError: it is something else, damaged, or of another bundle.
        """
        arrays = _read_arrays(path)
        try:
            metadata = _Metadata.model_validate(json.loads(str(arrays[METADATA])))
            temperature = [TemperatureSchedule(points) for points in metadata.temperature]
        except ValidationError as error:
            raise UserError(path, f"{NOT_SAVED} ({first_fault(error)})", REMEDY) from None
        except (KeyError, ValueError, RecursionError, UserError) as error:  # UserError for points out of range
            raise UserError(path, f"{NOT_SAVED} ({first_line(error)})", REMEDY) from None
        if metadata.manifest_sha256 != bundle.manifest_sha256:
            raise UserError(path, f"was saved from another bundle than {bundle.path}", "open that one")
        fault = _fault(arrays, metadata, bundle.manifest)
        if not 0 <= metadata.floor <= highest_floor(bundle.manifest.codec.levels):
            fault = "its floor is out of range"
        if fault is not None:
            raise UserError(path, f"is damaged ({fault})", REMEDY)
        return cls(
            manifest_sha256=metadata.manifest_sha256,
            seed=metadata.seed,
            clips=metadata.clips,
            batch_invariant=metadata.batch_invariant,
            temperature=temperature,
            floor=metadata.floor,
            candidates=metadata.candidates,
            restart=metadata.restart,
            steering={name: arrays[name] for name in _steering(metadata, bundle.manifest)},
            generated=metadata.generated,
            precision=metadata.precision,
            buffered=Generated(arrays[CODES], arrays[NLL]),
            nll_sum=arrays[NLL_SUM],
            state=GenerationState.from_arrays(arrays, [tier.state_names for tier in bundle.manifest.frame_tiers]),
        )


def _read_arrays(path: Path) -> Arrays:
    """Read the arrays of a .npz file.

    Raises:
        UserError: it is missing, damaged, or too large.
    """
    try:
        with open_plain_file(path, "a saved sampler", REMEDY, limit=LIMIT) as file:
            _check_sizes(file)
            with np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(path, "no such file", "save a sampler there first") from None
    except Exception as error:  # zipfile, zlib and numpy have many for damaged files
        raise UserError(path, f"{NOT_SAVED} ({first_line(error)})", REMEDY) from None


def _check_sizes(file: BinaryIO) -> None:
    """Check that a .npz file holds no more than its own size: nothing compressed, nothing twice.

    Raises:
        ValueError: it may unpack to more.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > size:
        raise ValueError("it unpacks to more than its size")
    file.seek(0)


def _steering(metadata: _Metadata, manifest: Manifest) -> dict[str, Kind]:
    """Return the types and shapes of the arrays of the sampler's steering."""
    steering = Steering.of(manifest, len(metadata.clips), metadata.candidates, metadata.restart)
    arrays = {} if steering is None else steering.arrays()
    return {name: (array.dtype.name, array.shape) for name, array in arrays.items()}


def _fault(arrays: Arrays, metadata: _Metadata, manifest: Manifest) -> str | None:
    """Return what does not have the type, shape or range that metadata and manifest ask for, or None."""
    clips = len(metadata.clips)
    buffered = arrays[CODES].shape[-1] if CODES in arrays and arrays[CODES].ndim else 0
    expected: dict[str, Kind] = {
        CODES: ("int32", (clips, buffered)),
        NLL: ("float32", (clips, buffered)),
        NLL_SUM: ("float64", (clips,)),
        **_steering(metadata, manifest),
        HISTORY: ("int32", (clips, manifest.context)),
    }
    for k, tier in enumerate(manifest.frame_tiers, 1):
        for name in tier.state_names:
            expected[f"tier_{k}.{name}"] = ("float32", (tier.layers, clips, manifest.width))
    for name, kind in expected.items():
        if name not in arrays or (arrays[name].dtype.name, arrays[name].shape) != kind:
            return f"{name} does not fit"
    for name, (dtype, _) in expected.items():
        if dtype.startswith("float") and not np.isfinite(arrays[name]).all():
            return f"{name} is not finite"
    if metadata.generated < buffered:
        return "its numbers of samples do not fit together"
    if len(metadata.temperature) != clips:
        return f"it has {len(metadata.temperature)} temperatures for {clips} clips"
    codes = np.concatenate([arrays[CODES].reshape(-1), arrays[HISTORY].reshape(-1)])
    if codes.min() < 0 or codes.max() >= manifest.codec.levels:
        return "it has codes that the bundle's codec does not have"
    return None
