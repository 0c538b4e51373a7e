"""Generates clips into audio files, each with a JSON sidecar that says how to make it again."""

import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from slash_infer._version import __version__
from slash_infer.audio.audio_files import Bits, most_samples
from slash_infer.audio.normalisation import Normalise
from slash_infer.audio.pcm_stream import BLOCK_SECONDS as LIVE_BLOCK_SECONDS
from slash_infer.audio.pcm_stream import Sink
from slash_infer.bundle import Bundle
from slash_infer.clips.clip_file import clip_file, sidecar_path
from slash_infer.clips.primes import Prime
from slash_infer.clips.sidecar import Sidecar
from slash_infer.errors import UserError
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import BLOCK_SECONDS, Sampler
from slash_infer.sampling.temperature import TemperatureSchedule

BATCH = 16  # clips made side by side: enough to fill the processor, few enough to hear the first ones soon

MOST_SECONDS = 1e9  # which no clip has: one that is to have more is never complete

Advance = Callable[[float, float], None]
"""Called with the seconds of audio just made, over the batch, and the x realtime of the batch so far."""


@dataclass(frozen=True)
class ClipSpec:
    """A clip to be made."""

    file: Path
    """.wav, .flac or .ogg."""
    clip: int
    temperature: TemperatureSchedule = field(default_factory=lambda: TemperatureSchedule.constant(1.0))
    prime: Prime | None = None
    had: float = 0.0
    """Seconds of it that stand in the file already, cut short by an earlier try. Nothing shorter replaces them."""


@dataclass(frozen=True)
class RenderOptions:
    """What all clips of a job have in common."""

    seconds: float
    """Of each; may be infinite, which ends with `stop`, or when a file can hold no more."""
    seed: int
    alone: bool = False
    """Whether the job is one clip, to be made by itself: see `Sampler`."""
    include_prime: bool = False
    normalise: Normalise | None = None
    bits: Bits = 16
    source: str | None = None
    """The bundle as a command would name it, to say how to make a clip again."""


@dataclass
class Rendered:
    """What a call of `render` made."""

    clips: list[tuple[Path, Sidecar]] = field(default_factory=list)
    seconds: float = 0.0
    """Of audio, all clips together."""
    wall_seconds: float = 0.0
    together: int = 1
    """Clips made side by side."""
    stopped: bool = False
    """Whether it ended before everything was made."""

    def add(self, part: "Rendered") -> None:
        """Count in what a further call made."""
        self.clips += part.clips
        self.seconds += part.seconds
        self.wall_seconds += part.wall_seconds
        self.stopped = self.stopped or part.stopped

    @property
    def realtime_batch(self) -> float:
        """Seconds of audio made per second of wall clock, all clips together."""
        return self.seconds / self.wall_seconds

    @property
    def realtime_clip(self) -> float:
        """The same for each of the clips made side by side."""
        return self.realtime_batch / self.together


def render(
    bundle: Bundle,
    engine: Engine,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    *,
    also: Sequence[Sink] = (),
    stop: Callable[[], object] = lambda: False,
    advance: Advance = lambda *_: None,
) -> Rendered:
    """Generate each spec into its file, and describe it in a .json file of the same name.

    Files appear when the clips made side by side are finished. When `stop` says so, those under way end where they
    are, and appear shorter.

    Args:
        bundle: the exported model.
        engine: the bundle's.
        specs: what to make.
        options: what they have in common.
        also: what else takes the samples of a job's first clip while it is made.
        stop: asked before every block, some hundreds of milliseconds of audio.
        advance: told of progress.

    Returns:
        the files and how long it took.

    Raises:
        UserError: a file cannot be written, because the disk is full for example, or cannot hold as much.
    """
    _check_length(bundle, specs, options)
    rendered = Rendered(together=min(BATCH, len(specs)))
    start = time.perf_counter()
    for first in range(0, len(specs), BATCH):
        if stop():
            rendered.stopped = True
            break
        batch = specs[first : first + BATCH]
        pages = _render_together(bundle, engine, batch, options, () if first else also, stop, advance)
        rendered.clips += [(spec.file, page) for spec, page in zip(batch, pages, strict=True)]
        rendered.stopped = not all(page.complete for page in pages)
    rendered.seconds = sum(page.seconds for _, page in rendered.clips)
    rendered.wall_seconds = time.perf_counter() - start
    return rendered


def description(bundle: Bundle, engine: Engine, spec: ClipSpec, options: RenderOptions) -> Sidecar:
    """Return the page of a spec, before it is made: what it says of the outcome is that all went well."""
    rate = bundle.manifest.sample_rate
    return Sidecar(
        seed=options.seed,
        clip=spec.clip,
        alone=options.alone,
        temperature=spec.temperature.plain,
        seconds=round(min(options.seconds, MOST_SECONDS) * rate) / rate,
        prime=spec.prime and spec.prime.page,
        include_prime=options.include_prime,
        normalise=options.normalise,
        bits=options.bits,
        sample_rate=rate,
        engine=engine.runtime.name,
        precision=engine.precision,
        runtime=engine.runtime.description,
        slash_version=__version__,
        manifest_sha256=bundle.manifest_sha256,
        provenance=bundle.manifest.provenance,
    )


def _render_together(
    bundle: Bundle,
    engine: Engine,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    also: Sequence[Sink],
    stop: Callable[[], object],
    advance: Advance,
) -> list[Sidecar]:
    """Make some specs side by side; return their pages."""
    rate, start = bundle.manifest.sample_rate, time.perf_counter()
    pages = [description(bundle, engine, spec, options) for spec in specs]
    with ExitStack() as stack:
        sampler = stack.enter_context(primed(bundle, engine, specs, options))
        files = [
            stack.enter_context(clip_file(spec.file, page, spec.prime.samples if spec.prime else None))
            for spec, page in zip(specs, pages, strict=True)
        ]
        for sink in also:
            if options.include_prime and specs[0].prime is not None:
                sink.write(specs[0].prime.samples)
        seconds, realtime = min(options.seconds, _longest(specs, options, rate)), 0.0
        for block in sampler.stream(seconds, block_seconds=LIVE_BLOCK_SECONDS if also else BLOCK_SECONDS):
            for sink in also:
                sink.write(block[0])
            for file, samples in zip(files, block, strict=True):
                file.write(samples)
            realtime = sampler.seconds * len(specs) / (time.perf_counter() - start)
            advance(block.size / rate, realtime)
            if stop():
                break
        complete = sampler.seconds * rate >= round(min(options.seconds, MOST_SECONDS) * rate)
        for i, (spec, file, bits) in enumerate(zip(specs, files, sampler.bits.tolist(), strict=True)):
            if not complete and sampler.seconds <= spec.had:
                file.give_up()
                pages[i] = Sidecar.read(sidecar_path(spec.file))
                continue
            outcome = {
                "seconds": sampler.seconds,
                "complete": complete,
                "bits_per_sample": round(bits, 4),
                "clips_together": len(specs),
                "realtime_batch": round(realtime, 4),
                "again": _command(engine, spec, options, sampler.seconds),
            }
            pages[i] = pages[i].model_copy(update=outcome)
            file.finish(pages[i])
    return pages


def primed(bundle: Bundle, engine: Engine, specs: Sequence[ClipSpec], options: RenderOptions) -> Sampler:
    """Return what makes the specs, about to begin."""
    sampler = Sampler(
        bundle,
        1 if options.alone else [spec.clip for spec in specs],
        seed=options.seed,
        temperature=[spec.temperature for spec in specs],
        engine=engine,
    )
    primes = [spec.prime.samples for spec in specs if spec.prime is not None]
    if primes:
        sampler.prime(primes)
    return sampler


def _check_length(bundle: Bundle, specs: Sequence[ClipSpec], options: RenderOptions) -> None:
    rate = bundle.manifest.sample_rate
    if not options.seconds * rate >= 1:
        raise UserError(
            f"`seconds` {options.seconds:g}", f"is less than a sample, of which there are {rate} a second"
        )
    longest = _longest(specs, options, rate)
    if longest < options.seconds < math.inf:
        raise UserError(
            f"`seconds` {options.seconds:g}",
            f"a .wav file holds {longest:.0f} of them here",
            "choose .flac, or fewer",
        )


def _longest(specs: Sequence[ClipSpec], options: RenderOptions, sample_rate: int) -> float:
    """Return how many seconds the files can hold, besides their primes."""
    room = min(most_samples(spec.file.suffix, options.bits) or math.inf for spec in specs)
    primes = max(len(spec.prime.samples) if spec.prime and options.include_prime else 0 for spec in specs)
    return (room - primes) / sample_rate


def _command(engine: Engine, spec: ClipSpec, options: RenderOptions, seconds: float) -> str | None:
    """Return the command that makes a spec again, by itself and as long as it came out."""
    if options.source is None:
        return None
    words: list[object] = ["slash", "generate", options.source, "--out", spec.file.name]
    words += [] if options.alone else ["--clip", spec.clip]
    words += ["--seed", options.seed, "--seconds", seconds, "--temperature", spec.temperature]
    words += ["--engine", engine.runtime.name, "--precision", engine.precision]
    if spec.prime is not None:
        page = spec.prime.page
        words += ["--prime", page.file, "--prime-start", page.start, "--prime-seconds", page.seconds]
    words += ["--include-prime"] * options.include_prime
    words += [] if options.normalise is None else ["--normalise", options.normalise]
    words += [] if options.bits == 16 else ["--bits", options.bits]
    return shlex.join(map(str, words))
