"""Recordings that clips continue: read from any file, brought to the bundle's rate, turned into its codes."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from slash_infer.bundle import Manifest
from slash_infer.clips.sidecar import PrimeSource
from slash_infer.errors import UserError, first_line

LONGEST = 600.0  # seconds


@dataclass(frozen=True)
class Prime:
    """What a clip hears before it begins."""

    page: PrimeSource
    samples: npt.NDArray[np.float32]
    """As the model hears them, quantised by its codec, at its sample rate, [T]."""


def read_prime(path: Path, manifest: Manifest, start: float = 0.0, seconds: float | None = None) -> Prime:
    """Read a recording of any rate and channel count, its channels mixed.

    Args:
        path: WAV, FLAC, OGG or MP3.
        manifest: whose sample rate and codec to bring it to.
        start: seconds into the recording.
        seconds: to take from there; all there is when not given.

    Raises:
        UserError: it is not readable audio, or has not as much.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rest = file.frames / file.samplerate - start
            if not (start >= 0 and rest > 0):
                length = file.frames / file.samplerate
                raise UserError(
                    f"`prime_start` {start:g}", f"{path} is {length:.2f} s long", "choose from 0 to less than that"
                )
            wanted = rest if seconds is None else seconds
            if not 0 < wanted <= min(rest + 1 / file.samplerate, LONGEST):
                raise UserError(
                    path,
                    f"`prime_seconds` must be over 0 and at most {min(rest, LONGEST):.2f} from there, not {wanted:g}",
                )
            file.seek(math.floor(start * file.samplerate))
            read = file.read(max(1, round(wanted * file.samplerate)), dtype="float32", always_2d=True)
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        if not path.exists():
            raise UserError(f"`prime` {path}", "no such file", "check the path") from None
        raise UserError(
            f"`prime` {path}", f"is not readable audio ({error.error_string})", "choose another"
        ) from None
    except (OSError, TypeError) as error:  # what soundfile says of headerless files
        raise UserError(f"`prime` {path}", f"is not readable audio ({first_line(error)})", "choose another") from None
    if not np.isfinite(read).all():
        raise UserError(f"`prime` {path}", "holds samples that are not finite", "repair it")
    mono = np.asarray(read.mean(axis=1), np.float32)
    codes = manifest.codec.encode(soxr.resample(mono, rate, manifest.sample_rate))
    if not len(codes):
        raise UserError(
            f"`prime` {path}", f"is shorter than a sample at {manifest.sample_rate} Hz", "take more of it"
        )
    page = PrimeSource(
        file=str(path),
        start=start,
        seconds=len(read) / rate,
        sha256=hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest(),
    )
    return Prime(page, manifest.codec.decode(codes))
