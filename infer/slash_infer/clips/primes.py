"""Primes: recordings that clips continue, read from any file and brought to the bundle's rate and codec."""

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
from slash_infer.errors import Argument, UserError, first_line

LONGEST = 600.0  # seconds


@dataclass(frozen=True)
class Prime:
    """A recording that a clip continues."""

    source: PrimeSource
    samples: npt.NDArray[np.float32]
    """At the bundle's sample rate and quantised by its codec, [T]: what the model sees."""
    sha256: str
    """Of the codes, as little-endian int32."""


def read_prime(path: Path, manifest: Manifest, start: float = 0.0, seconds: float | None = None) -> Prime:
    """Read a prime from a recording of any rate and channel count. Channels are mixed.

    Args:
        path: WAV, FLAC, OGG or MP3.
        manifest: whose sample rate and codec to convert it to.
        start: seconds into the recording.
        seconds: length of the prime, from there; by default, up to the end.

    Raises:
        UserError: it is not readable audio, or is not that long.
    """
    subject = Argument("prime", path)
    try:
        with soundfile.SoundFile(path) as file:
            length = file.frames / file.samplerate
            rest = length - start
            if not (start >= 0 and rest > 0):
                raise UserError(
                    Argument("prime_start", f"{start:g}"),
                    f"{path} is {length:.2f} s long",
                    "choose from 0 to less than that",
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
            raise UserError(subject, "no such file", "check the path") from None
        raise UserError(subject, f"is not readable audio ({error.error_string})", "choose another") from None
    except (OSError, TypeError) as error:  # what soundfile says of headerless files
        raise UserError(subject, f"is not readable audio ({first_line(error)})", "choose another") from None
    if not np.isfinite(read).all():
        raise UserError(subject, "holds samples that are not finite", "repair it")
    mono = np.asarray(read.mean(axis=1), np.float32)
    codes = manifest.codec.encode(soxr.resample(mono, rate, manifest.sample_rate))
    if not len(codes):
        raise UserError(subject, f"is shorter than a sample at {manifest.sample_rate} Hz", "take more of it")
    return Prime(
        source=PrimeSource(file=str(path), start=start, seconds=len(read) / rate),
        samples=manifest.codec.decode(codes),
        sha256=hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest(),
    )
