"""What a job is asked to render: one `ClipSpec` for each clip, and the `RenderOptions` that they share."""

from dataclasses import dataclass, field
from pathlib import Path

from slash_infer.bundle import Bundle
from slash_infer.choices import Bits, Normalise
from slash_infer.clips.place import Place
from slash_infer.clips.primes import Prime
from slash_infer.clips.sidecar import ClipRecipe
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.temperature import TemperatureSchedule


@dataclass(frozen=True)
class ClipSpec:
    """A clip to render."""

    file: Path
    """.wav, .flac or .ogg."""
    clip: int
    """Its number, which with the seed determines the random draws."""
    temperature: TemperatureSchedule = field(default_factory=lambda: TemperatureSchedule.constant(1.0))
    prime: Prime | None = None
    existing_seconds: float = 0.0
    """Length of the clip in the file now, from an earlier run of the same job. Nothing shorter replaces it."""
    place: Place | None = field(default=None, compare=False)
    """What was in the file's place when the job was planned, and may be replaced; None to look when it begins."""


@dataclass(frozen=True)
class RenderOptions:
    """What all clips of a job have in common."""

    seconds: float
    """Length of each. Infinite: until `stop`, or until a file is full."""
    seed: int
    include_prime: bool = False
    """Whether a file begins with its clip's prime."""
    normalise: Normalise | None = None
    bits: Bits = 16
    """Of a sample in the file."""


def recipe_of(spec: ClipSpec, options: RenderOptions, bundle: Bundle, engine: Engine) -> ClipRecipe:
    """Return the recipe of a clip."""
    return ClipRecipe(
        manifest_sha256=bundle.manifest_sha256,
        precision=engine.precision,
        seed=options.seed,
        clip=spec.clip,
        temperature=spec.temperature.plain,
        prime_sha256=spec.prime and spec.prime.sha256,
        include_prime=options.include_prime,
        normalise=options.normalise,
        bits=options.bits,
    )
