"""What a job is asked to render: one `ClipSpec` for each clip, and the `RenderOptions` that they share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from slash_infer.arguments import as_integer, as_number, check_bool, check_choice, check_kind
from slash_infer.bundle import Bundle
from slash_infer.choices import Bits, Normalise
from slash_infer.clips.place import Place
from slash_infer.clips.primes import Prime
from slash_infer.clips.sidecar import ClipRecipe
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, DEFAULT_TEMPERATURE, MOST_CANDIDATES
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.floor import as_floor
from slash_infer.sampling.randomness import MAX_KEY
from slash_infer.sampling.steering import allowed
from slash_infer.sampling.temperature import TemperatureSchedule


@dataclass(frozen=True)
class ClipSpec:
    """A clip to render.

    Raises:
        UserError: a field is out of range or of another type.
    """

    file: Path
    """.wav, .flac or .ogg."""
    clip: int
    """Its number, which with the seed determines the random draws."""
    temperature: TemperatureSchedule = field(
        default_factory=lambda: TemperatureSchedule.constant(DEFAULT_TEMPERATURE)
    )
    prime: Prime | None = None
    existing_seconds: float = 0.0
    """Length of the clip in the file now, from an earlier run of the same job. Nothing shorter replaces it."""
    place: Place | None = field(default=None, compare=False)
    """What was in the file's place when the job was planned, and may be replaced; None to look when it begins."""

    def __post_init__(self) -> None:
        check_kind("file", self.file, Path, "make one with Path(name)")
        as_integer("clip", self.clip, 0, MAX_KEY)
        check_kind("temperature", self.temperature, TemperatureSchedule, "TemperatureSchedule.constant makes one")


@dataclass(frozen=True)
class RenderOptions:
    """What all clips of a job have in common.

    Raises:
        UserError: a field is out of range or of another type.
    """

    seconds: float
    """Length of each. Infinite: until `stop`, or until a file is full."""
    seed: int
    floor: float | None = None
    """As for a `Sampler`, which knows how large it may be."""
    candidates: int = DEFAULT_CANDIDATES
    restart: bool = True
    """As for a `Sampler`."""
    include_prime: bool = False
    """Whether a file begins with its clip's prime."""
    normalise: Normalise | None = None
    bits: Bits = 16
    """Of a sample in the file."""

    def __post_init__(self) -> None:
        as_number("seconds", self.seconds, 0)
        as_integer("seed", self.seed, 0, MAX_KEY)
        if self.floor is not None:
            as_number("floor", self.floor, 0, 1)
        as_integer("candidates", self.candidates, 1, MOST_CANDIDATES)
        check_bool("restart", self.restart)
        check_bool("include_prime", self.include_prime)
        if self.normalise is not None:
            check_choice("normalise", self.normalise, get_args(Normalise))


def recipe_of(spec: ClipSpec, options: RenderOptions, bundle: Bundle, engine: Engine) -> ClipRecipe:
    """Return the recipe of a clip."""
    candidates, restart = allowed(bundle.manifest.recorded, options.candidates, options.restart)
    return ClipRecipe(
        manifest_sha256=bundle.manifest_sha256,
        precision=engine.precision,
        seed=options.seed,
        clip=spec.clip,
        temperature=spec.temperature.plain,
        floor=as_floor(options.floor, bundle.manifest.codec.levels),
        candidates=candidates,
        restart=restart,
        prime_sha256=spec.prime and spec.prime.sha256,
        include_prime=options.include_prime,
        normalise=options.normalise,
        bits=options.bits,
    )
