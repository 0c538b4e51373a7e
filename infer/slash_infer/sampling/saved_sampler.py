"""A sampler on disk: one .npz file with all that its clips' future depends on. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer.bundle import Bundle, Manifest, Precision
from slash_infer.errors import UserError, first_fault, first_line
from slash_infer.files import atomic_file
from slash_infer.sampling.generation_state import Generated, GenerationState
from slash_infer.sampling.temperature import TemperatureSchedule

Arrays = Mapping[str, npt.NDArray[Any]]
Key = Annotated[int, Field(ge=0, lt=2**64)]

MADE_BY: Literal["slash_infer.Sampler"] = "slash_infer.Sampler"
ABOUT, CODES, NLL, NATS = "about", "ahead.codes", "ahead.nll", "nats"


class _About(BaseModel):
    """What is no array, as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_by: Literal["slash_infer.Sampler"] = MADE_BY
    schema_version: Literal[1] = 1
    manifest_sha256: str
    seed: Key
    clips: Annotated[list[Key], Field(min_length=1)]
    lone: bool
    temperature: list[Annotated[tuple[tuple[float, float], ...], Field(min_length=1)]]
    """The points of each clip's schedule."""
    made: Annotated[int, Field(ge=0, lt=2**62)]
    precision: Precision


@dataclass(frozen=True)
class SavedSampler:
    """What `slash_infer.sampling.sampler.Sampler` is made of. Rows are clips, and company that a single one may have."""

    manifest_sha256: str
    seed: int
    clips: list[int]
    lone: bool
    temperature: list[TemperatureSchedule]
    made: int
    """Samples of every clip so far."""
    ahead: Generated
    """Those of them not asked for yet."""
    nats: npt.NDArray[np.float64]
    """Sums over those asked for, [rows]."""
    moment: GenerationState
    precision: Precision
    """It was made in."""

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        about = _About(
            manifest_sha256=self.manifest_sha256,
            seed=self.seed,
            clips=self.clips,
            lone=self.lone,
            temperature=[schedule.points for schedule in self.temperature],
            made=self.made,
            precision=self.precision,
        )
        arrays = {
            ABOUT: np.array(about.model_dump_json()),
            CODES: self.ahead.codes,
            NLL: self.ahead.nll,
            NATS: self.nats,
            **self.moment.arrays(),
        }
        with atomic_file(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path, bundle: Bundle) -> "SavedSampler":
        """Read what `write` wrote for this bundle.

        Raises:
            UserError: it is something else, damaged, or of another bundle.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, npt.NDArray[Any]] = {name: file[name] for name in file.files}
            about = _About.model_validate(json.loads(str(arrays[ABOUT])))
            temperature = [TemperatureSchedule(points) for points in about.temperature]
        except ValidationError as error:
            raise UserError(path, f"is not a sampler that was saved ({first_fault(error)})") from None
        except FileNotFoundError:
            raise UserError(path, "no such file", "save a sampler there first") from None
        except Exception as error:  # zipfile, zlib and numpy have many for what is damaged, and UserError for points
            raise UserError(path, f"is not a sampler that was saved ({first_line(error)})") from None
        if about.manifest_sha256 != bundle.manifest_sha256:
            raise UserError(path, f"was saved from another bundle than {bundle.path}", "open that one")
        fault = _fault(arrays, about, bundle.manifest)
        if fault is not None:
            raise UserError(path, f"is damaged ({fault})", "save it again")
        return cls(
            manifest_sha256=about.manifest_sha256,
            seed=about.seed,
            clips=about.clips,
            lone=about.lone,
            temperature=temperature,
            made=about.made,
            precision=about.precision,
            ahead=Generated(arrays[CODES], arrays[NLL]),
            nats=arrays[NATS],
            moment=GenerationState.from_arrays(arrays, [tier.state_names for tier in bundle.manifest.frame_tiers]),
        )


def _fault(arrays: Arrays, about: _About, manifest: Manifest) -> str | None:
    """Say what does not have the type and shape that the bundle asks for, or None."""
    rows = len(arrays[NATS]) if NATS in arrays and arrays[NATS].ndim == 1 else 0
    ahead = arrays[CODES].shape[-1] if CODES in arrays and arrays[CODES].ndim else 0
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        CODES: ("int32", (rows, ahead)),
        NLL: ("float32", (rows, ahead)),
        NATS: ("float64", (rows,)),
        "history": ("int32", (rows, manifest.top_frame)),
    }
    for k, tier in enumerate(manifest.frame_tiers, 1):
        for name in tier.state_names:
            wanted[f"tier_{k}.{name}"] = ("float32", (tier.layers, rows, manifest.width))
    for name, kind in wanted.items():
        if name not in arrays or (arrays[name].dtype.name, arrays[name].shape) != kind:
            return f"{name} does not fit"
    for name, (dtype, _) in wanted.items():
        if dtype.startswith("float") and not np.isfinite(arrays[name]).all():
            return f"{name} is not finite"
    if about.made < ahead or (about.lone and about.clips != [0]):
        return "its numbers of samples and clips do not fit together"
    if rows < len(about.clips) or len(about.temperature) != len(about.clips):
        return f"it has {rows} rows and {len(about.temperature)} temperatures for {len(about.clips)} clips"
    codes = np.concatenate([arrays[CODES].reshape(-1), arrays["history"].reshape(-1)])
    if codes.min() < 0 or codes.max() >= manifest.codec.levels:
        return "it has codes that the bundle's codec does not have"
    return None
