"""What `slash generate` was asked for: its options checked, and joined in one frozen request."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slash_cli.clip_files import Destination
from slash_cli.console import optional_packages
from slash_infer.audio.normalisation import check_length
from slash_infer.bundle import Bundle, Manifest
from slash_infer.choices import Normalise
from slash_infer.clips.primes import Prime, read_prime
from slash_infer.clips.resume import check_places
from slash_infer.clips.sidecar import sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.errors import UserError
from slash_infer.files import check_file_output, real_path
from slash_infer.sampling.engine import Engine

MIN_SECONDS = 0.01
MAX_SECONDS = 24 * 3600.0
MIN_LATENCY, MAX_LATENCY = 0.02, 10.0


@dataclass(frozen=True)
class Request:
    """Everything that `slash generate` was asked for."""

    bundle: Bundle
    bundle_name: str | None
    """The bundle as the user named it."""
    engine: Engine
    """What runs the bundle."""
    engine_is_automatic: bool
    """Whether the engine or the precision was left to Slash, which then says what it chose."""
    specs: list[ClipSpec]
    options: RenderOptions
    destination: Destination
    force: bool


def check_options(
    destination: Destination,
    *,
    names: Sequence[Path],
    seconds: float,
    latency: float,
    one_clip: bool,
    needs_seed: str | None,
    has_prime: bool,
    of_a_prime: Mapping[str, bool],
) -> None:
    """Check the options that need no file to be read.

    Args:
        destination: where the audio goes.
        names: paths that a sidecar names.
        seconds: length of a clip.
        latency: of the speakers.
        one_clip: whether a single clip was asked for.
        needs_seed: a shard without a seed.
        has_prime: whether there is a prime.
        of_a_prime: options that need one, and whether they were given.

    Raises:
        UserError: an option is out of range, or is not given with the one it belongs to.
    """
    for path in names:
        try:
            str(path).encode()
        except UnicodeEncodeError:  # a sidecar, which is JSON, could not hold it
            raise UserError(f"{str(path)!r}", "is not a name in UTF-8", "rename it") from None
    if not (MIN_SECONDS <= seconds <= MAX_SECONDS or seconds == math.inf):
        raise UserError(f"--seconds {seconds}", f"must be from {MIN_SECONDS} to {MAX_SECONDS:.0f}, or inf")
    if not MIN_LATENCY <= latency <= MAX_LATENCY:
        raise UserError(f"--latency {latency}", f"must be from {MIN_LATENCY} to {MAX_LATENCY:.0f} seconds")
    plays = destination.is_live or destination.speaker_seconds is not None or seconds == math.inf
    if plays and not one_clip:
        raise UserError(
            "--play, --out - and --seconds inf", "make one clip", "leave out -n and --best-of, or say --clip"
        )
    if needs_seed is not None:
        raise UserError(f"--shard {needs_seed}", "needs --seed, the same for every part")
    for option, is_given in of_a_prime.items():
        if is_given and not has_prime:
            raise UserError(option, "needs a --prime")


def check_outputs(
    destination: Destination, files: Sequence[Path], json_file: Path | None, *, ranks: bool, force: bool
) -> None:
    """Check that the clips, and the ranking of the best-scoring ones, may be written.

    Raises:
        UserError: something is in the way.
    """
    if json_file is not None:
        if not ranks:
            raise UserError("--json", "is for the ranking of --best-of")
        check_file_output(json_file, force=force, argument="json_file")
    if destination.is_live:
        return
    check_places(files, force=force)
    taken = {real_path(place) for file in files for place in (file, sidecar_path(file))}
    if json_file is not None and real_path(json_file) in taken:
        raise UserError(f"--json {json_file}", "is where a clip or its sidecar goes", "choose another file")


def check_normalise(normalise: Normalise | None, seconds: float, destination: Destination) -> None:
    """Check that clips can be normalised."""
    if normalise is None:
        return
    if destination.is_live:
        raise UserError(f"--normalise {normalise}", "needs the whole clip before it plays", "give a file or a folder")
    check_length(seconds, normalise)
    if normalise == "loudness":
        with optional_packages("--normalise loudness"):
            import pyloudnorm  # noqa: F401


def read_primes(
    paths: Sequence[Path], manifest: Manifest, start: float, seconds: float | None
) -> Sequence[Prime | None]:
    """Read the primes, which clips take in turn; without any, return None for all clips."""
    return [read_prime(path, manifest, start, seconds) for path in paths] or [None]
