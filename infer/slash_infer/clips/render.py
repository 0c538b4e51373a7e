"""Renders clips into audio files, each with a sidecar."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from slash_infer._version import __version__
from slash_infer.audio.audio_files import Tags, most_samples
from slash_infer.audio.sinks import Sink
from slash_infer.bundle import Bundle, Provenance
from slash_infer.clips.clip_file import clip_file
from slash_infer.clips.place import Place
from slash_infer.clips.pump import pump
from slash_infer.clips.sidecar import ClipOutcome, ClipRecipe, Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions, recipe_of
from slash_infer.errors import Argument, UserError
from slash_infer.machine import open_files
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import BLOCK_SECONDS, LIVE_BLOCK_SECONDS, Sampler

FILES_OF_A_CLIP = 4  # open at once, with some to spare

Advance = Callable[[float, float], None]
"""Called with the seconds of audio just generated, over the batch, and the x realtime of the batch so far."""

Heard = Callable[[float, float], object]
"""Called with the seconds of the longest prime that have been heard, and with its length in seconds."""

Again = Callable[[ClipSpec, float], str | None]
"""Returns the command that generates a clip of so many seconds again, for its sidecar."""


@dataclass
class Rendered:
    """The result of a call of `render`."""

    clips: list[tuple[Path, Sidecar]] = field(default_factory=list)
    seconds: float = 0.0
    """Of audio, over all clips."""
    wall_seconds: float = 0.0
    """That generating took, without hearing primes."""
    together: int = 1
    """Clips generated side by side."""
    stopped: bool = False
    """Whether it ended before everything was rendered."""

    def add(self, part: "Rendered") -> None:
        """Add the result of a further call."""
        self.clips += part.clips
        self.seconds += part.seconds
        self.wall_seconds += part.wall_seconds
        self.stopped = self.stopped or part.stopped

    @property
    def realtime_batch(self) -> float:
        """Seconds of audio per second of wall clock, over all clips."""
        return self.seconds / self.wall_seconds

    @property
    def realtime_clip(self) -> float:
        """The same for each of the clips generated side by side."""
        return self.realtime_batch / self.together


def render(
    bundle: Bundle,
    engine: Engine,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    *,
    also: Sequence[Sink] = (),
    again: Again = lambda *_: None,
    stop: Callable[[], object] = lambda: False,
    advance: Advance = lambda *_: None,
    heard: Heard = lambda *_: None,
) -> Rendered:
    """Generate each clip into its file, and write its sidecar beside it.

    What is in their places when it begins is replaced, and nothing that appears there later.

    Files appear when the batch that they are generated in is finished. When `stop` returns something true, the clips
    of the current batch end where they are, and their files are shorter.

    Args:
        bundle: the exported model.
        engine: the bundle's.
        specs: the clips.
        options: what they have in common.
        also: further sinks for the first clip, while it is generated.
        again: says how to generate a clip again.
        stop: called before every block, some hundred milliseconds of audio.
        advance: called with the progress.
        heard: called with the progress of priming.

    Returns:
        the files with their sidecars, and how long it took.

    Raises:
        UserError: a file cannot be written, for example because the disk is full, or cannot hold that many samples;
            or another file has appeared in its place.
    """
    if not specs:
        return Rendered()
    _check_length(bundle, specs, options)
    specs = [replace(spec, place=spec.place or Place.look(spec.file)) for spec in specs]
    together = side_by_side(engine)
    rendered = Rendered(together=min(together, len(specs)))
    for first in range(0, len(specs), together):
        if stop():
            rendered.stopped = True
            break
        batch = specs[first : first + together]
        rendered.add(
            _render_batch(bundle, engine, batch, options, () if first else also, again, stop, advance, heard)
        )
    return rendered


def side_by_side(engine: Engine) -> int:
    """Return how many clips to render at once: as many as the runtime asks for, if their files may be open."""
    return int(max(1, min(engine.runtime.clips_together, open_files() // FILES_OF_A_CLIP)))


def primed_sampler(
    bundle: Bundle,
    engine: Engine,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    *,
    batch_invariant: bool = True,
    heard: Heard = lambda *_: None,
) -> Sampler:
    """Return a sampler of the clips that has been fed their primes."""
    sampler = Sampler(
        bundle,
        [spec.clip for spec in specs],
        seed=options.seed,
        temperature=[spec.temperature for spec in specs],
        floor=options.floor,
        candidates=options.candidates,
        restart=options.restart,
        engine=engine,
        batch_invariant=batch_invariant,
    )
    primes = [spec.prime.samples for spec in specs if spec.prime is not None]
    if primes:
        seconds = max(map(len, primes)) / bundle.manifest.sample_rate
        sampler.prime(primes, heard=lambda so_far: heard(so_far, seconds))
    return sampler


def _render_batch(
    bundle: Bundle,
    engine: Engine,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    also: Sequence[Sink],
    again: Again,
    stop: Callable[[], object],
    advance: Advance,
    heard: Heard,
) -> Rendered:
    """Render some clips side by side."""
    rate = bundle.manifest.sample_rate
    recipes = [recipe_of(spec, options, bundle, engine) for spec in specs]
    primes = [spec.prime.samples if spec.prime and options.include_prime else None for spec in specs]
    reported = realtime = 0.0
    with ExitStack() as stack:
        sampler = stack.enter_context(primed_sampler(bundle, engine, specs, options, heard=heard))
        start = time.perf_counter()
        files = [
            stack.enter_context(
                clip_file(spec.file, recipe, rate, _tags(recipe, bundle.manifest.provenance, engine), spec.place)
            )
            for spec, recipe in zip(specs, recipes, strict=True)
        ]

        def after_block() -> object:
            nonlocal reported, realtime
            realtime = sampler.seconds * len(specs) / (time.perf_counter() - start)
            advance((sampler.seconds - reported) * len(specs), realtime)
            reported = sampler.seconds
            return stop()

        pump(
            sampler,
            [[file, *(also if i == 0 else ())] for i, file in enumerate(files)],
            min(options.seconds, _longest(specs, options, rate)),
            primes=primes,
            block_seconds=LIVE_BLOCK_SECONDS if also else BLOCK_SECONDS,
            stop=after_block,
        )
        complete = options.seconds < math.inf and sampler.seconds * rate >= round(options.seconds * rate)
        rendered = Rendered(
            seconds=sampler.seconds * len(specs), wall_seconds=time.perf_counter() - start, stopped=not complete
        )
        for spec, recipe, file, bits in zip(specs, recipes, files, sampler.bits.tolist(), strict=True):
            if not complete and sampler.seconds <= spec.existing_seconds:
                rendered.clips.append((spec.file, Sidecar.read(sidecar_path(spec.file))))  # the longer one stays
                continue
            outcome = ClipOutcome(
                seconds=sampler.seconds,
                complete=complete,
                bits_per_sample=round(bits, 4),
                engine=engine.runtime.name,
                runtime=engine.runtime.description,
                slash_version=__version__,
                clips_together=len(specs),
                realtime_batch=round(realtime, 4),
                again=again(spec, sampler.seconds),
            )
            sidecar = Sidecar(
                sample_rate=rate,
                recipe=recipe,
                outcome=outcome,
                prime=spec.prime and spec.prime.source,
                provenance=bundle.manifest.provenance,
            )
            file.finish(sidecar)
            rendered.clips.append((spec.file, sidecar))
    return rendered


def _check_length(bundle: Bundle, specs: Sequence[ClipSpec], options: RenderOptions) -> None:
    rate, subject = bundle.manifest.sample_rate, Argument("seconds", f"{options.seconds:g}")
    if not options.seconds * rate >= 1:
        raise UserError(subject, f"is less than a sample, of which there are {rate} a second")
    longest = _longest(specs, options, rate)
    if longest < options.seconds < math.inf:
        raise UserError(subject, f"a .wav file holds {longest:.0f} of them here", "choose .flac, or fewer")


def _longest(specs: Sequence[ClipSpec], options: RenderOptions, sample_rate: int) -> float:
    """Return how many seconds fit in the files, after their primes."""
    room = min(most_samples(spec.file.suffix, options.bits) or math.inf for spec in specs)
    primes = max(len(spec.prime.samples) if spec.prime and options.include_prime else 0 for spec in specs)
    return (room - primes) / sample_rate


def _tags(recipe: ClipRecipe, provenance: Provenance, engine: Engine) -> Tags:
    source = f"SampleRNN preset {provenance.preset}, step {provenance.step}, manifest {recipe.manifest_sha256}"
    drawn = f"temperature {recipe.temperature}, floor {recipe.floor}"
    drawn += f", candidates {recipe.candidates}{', restart' * recipe.restart}"
    by = f"slash {__version__}, {engine.runtime.name} {recipe.precision}"
    return Tags(f"clip {recipe.clip}, seed {recipe.seed}", f"{source}, {drawn}, {by}")
