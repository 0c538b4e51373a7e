"""Primes: recordings that clips continue, read from any file and brought to the bundle's rate and codec."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from slash_infer.audio.decoder import Decoder
from slash_infer.audio.recording import open_recording, shortfall
from slash_infer.bundle import Manifest
from slash_infer.clips.sidecar import PrimeSource
from slash_infer.errors import Argument, UserError

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
        path: anything that `slash_infer.audio` reads.
        manifest: whose sample rate and codec to convert it to.
        start: seconds into the recording.
        seconds: length of the prime, from there; by default, up to the end.

    Raises:
        UserError: it is not readable audio, is not that long, or is to be taken to its end and was cut off.
    """
    try:
        with open_recording(path) as decoder:
            rate = decoder.rate
            mono, frames = _part(path, decoder, start, seconds)
            length = frames / rate
            _check_part(path, length, start, seconds, 1 / rate)
            short = shortfall(decoder, frames) if seconds is None else None
    except UserError as error:
        if error.subject != path:
            raise
        raise UserError(Argument("prime", path), error.fault, error.remedy) from None
    if short is not None:
        raise UserError(Argument("prime", path), f"is {short}", "repair it, or pass `prime_seconds`")
    mono = mono[: max(1, round((length - start if seconds is None else seconds) * rate))]
    codes = manifest.codec.encode(soxr.resample(mono, rate, manifest.sample_rate))
    if not len(codes):
        raise UserError(
            Argument("prime", path), f"is shorter than a sample at {manifest.sample_rate} Hz", "take more of it"
        )
    return Prime(
        source=PrimeSource(file=str(path), start=start, seconds=len(mono) / rate),
        samples=manifest.codec.decode(codes),
        sha256=hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest(),
    )


def _part(path: Path, decoder: Decoder, start: float, seconds: float | None) -> tuple[npt.NDArray[np.float32], int]:
    """Decode a part of a recording, its channels mixed; at most LONGEST and a little more is kept.

    Returns:
        the samples from `start` on, [T], and the frames decoded: all there are, or up to the end of the part.

    Raises:
        UserError: samples are not finite.
    """
    wanted = LONGEST if seconds is None else seconds
    exists = math.isfinite(start) and start >= 0 and 0 < wanted <= LONGEST
    first = math.floor(start * decoder.rate) if exists else 0
    most = max(1, round(wanted * decoder.rate)) + 1 if exists else 0
    kept: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
    frames = 0
    for block in decoder.blocks():
        part = block[max(0, first - frames) : max(0, first + most - frames)]
        frames += len(block)
        if not np.isfinite(part).all():
            raise UserError(path, "holds samples that are not finite", "repair it")
        kept.append(np.asarray(part.mean(axis=1), np.float32))
        if seconds is not None and exists and frames >= first + most:
            break
    return np.concatenate(kept), frames


def _check_part(path: Path, length: float, start: float, seconds: float | None, frame: float) -> None:
    """Check that a recording of `length` seconds has the part; a `frame` more may be asked for.

    Raises:
        UserError: it does not.
    """
    rest = length - start
    if not (start >= 0 and rest > 0):
        raise UserError(
            Argument("prime_start", f"{start:g}"), f"{path} is {length:.2f} s long", "choose from 0 to less than that"
        )
    wanted = rest if seconds is None else seconds
    if not 0 < wanted <= min(rest + frame, LONGEST):
        raise UserError(
            path, f"`prime_seconds` must be over 0 and at most {min(rest, LONGEST):.2f} from there, not {wanted:g}"
        )
