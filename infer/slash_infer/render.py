"""Generates clips into audio files, each with a JSON sidecar that says how to make it again."""

import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from slash_infer import __version__
from slash_infer.audio_files import most_samples
from slash_infer.bundle import Bundle
from slash_infer.clip_file import clip_file, page_of
from slash_infer.engine import Engine
from slash_infer.errors import UserError
from slash_infer.live import BLOCK_SECONDS as LIVE_BLOCK_SECONDS
from slash_infer.live import Sink
from slash_infer.primes import Prime
from slash_infer.sampler import BLOCK_SECONDS, Sampler
from slash_infer.sidecar import Bits, Normalise, Sidecar
from slash_infer.temperature import Schedule

BATCH = 16  # clips made side by side: enough to fill the processor, few enough to hear the first ones soon

MOST_SECONDS = 1e9  # which no clip has: one that is to have more is never complete

Advance = Callable[[float, float], None]
"""Called with the seconds of audio just made, over the batch, and the x realtime of the batch so far."""


@dataclass(frozen=True)
class Piece:
    """A clip to be made."""

    file: Path
    """.wav, .flac or .ogg."""
    clip: int
    temperature: Schedule = field(default_factory=lambda: Schedule.constant(1.0))
    prime: Prime | None = None
    had: float = 0.0
    """Seconds of it that stand in the file already, cut short by an earlier try. Nothing shorter replaces them."""


@dataclass(frozen=True)
class Terms:
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
    pieces: Sequence[Piece],
    terms: Terms,
    *,
    also: Sequence[Sink] = (),
    stop: Callable[[], object] = lambda: False,
    advance: Advance = lambda *_: None,
) -> Rendered:
    """Generate each piece into its file, and describe it in a .json file of the same name.

    Files appear when the clips made side by side are finished. When `stop` says so, those under way end where they
    are, and appear shorter.

    Args:
        bundle: the exported model.
        engine: the bundle's.
        pieces: what to make.
        terms: what they have in common.
        also: what else takes the samples of a job's first clip while it is made.
        stop: asked before every block, some hundreds of milliseconds of audio.
        advance: told of progress.

    Returns:
        the files and how long it took.

    Raises:
        UserError: a file cannot be written, because the disk is full for example, or cannot hold as much.
    """
    _check_length(bundle, pieces, terms)
    rendered = Rendered(together=min(BATCH, len(pieces)))
    start = time.perf_counter()
    for first in range(0, len(pieces), BATCH):
        if stop():
            rendered.stopped = True
            break
        batch = pieces[first : first + BATCH]
        pages = _render_together(bundle, engine, batch, terms, () if first else also, stop, advance)
        rendered.clips += [(piece.file, page) for piece, page in zip(batch, pages, strict=True)]
        rendered.stopped = not all(page.complete for page in pages)
    rendered.seconds = sum(page.seconds for _, page in rendered.clips)
    rendered.wall_seconds = time.perf_counter() - start
    return rendered


def description(bundle: Bundle, engine: Engine, piece: Piece, terms: Terms) -> Sidecar:
    """Return the page of a piece, before it is made: what it says of the outcome is that all went well."""
    rate = bundle.manifest.sample_rate
    return Sidecar(
        seed=terms.seed,
        clip=piece.clip,
        alone=terms.alone,
        temperature=piece.temperature.plain,
        seconds=round(min(terms.seconds, MOST_SECONDS) * rate) / rate,
        prime=piece.prime and piece.prime.page,
        include_prime=terms.include_prime,
        normalise=terms.normalise,
        bits=terms.bits,
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
    pieces: Sequence[Piece],
    terms: Terms,
    also: Sequence[Sink],
    stop: Callable[[], object],
    advance: Advance,
) -> list[Sidecar]:
    """Make some pieces side by side; return their pages."""
    rate, start = bundle.manifest.sample_rate, time.perf_counter()
    pages = [description(bundle, engine, piece, terms) for piece in pieces]
    with ExitStack() as stack:
        sampler = stack.enter_context(primed(bundle, engine, pieces, terms))
        files = [
            stack.enter_context(clip_file(piece.file, page, piece.prime.samples if piece.prime else None))
            for piece, page in zip(pieces, pages, strict=True)
        ]
        for sink in also:
            if terms.include_prime and pieces[0].prime is not None:
                sink.write(pieces[0].prime.samples)
        seconds, realtime = min(terms.seconds, _longest(pieces, terms, rate)), 0.0
        for block in sampler.stream(seconds, block_seconds=LIVE_BLOCK_SECONDS if also else BLOCK_SECONDS):
            for sink in also:
                sink.write(block[0])
            for file, samples in zip(files, block, strict=True):
                file.write(samples)
            realtime = sampler.seconds * len(pieces) / (time.perf_counter() - start)
            advance(block.size / rate, realtime)
            if stop():
                break
        complete = sampler.seconds * rate >= round(min(terms.seconds, MOST_SECONDS) * rate)
        for i, (piece, file, bits) in enumerate(zip(pieces, files, sampler.bits.tolist(), strict=True)):
            if not complete and sampler.seconds <= piece.had:
                file.give_up()
                pages[i] = Sidecar.read(page_of(piece.file))
                continue
            outcome = {
                "seconds": sampler.seconds,
                "complete": complete,
                "bits_per_sample": round(bits, 4),
                "clips_together": len(pieces),
                "realtime_batch": round(realtime, 4),
                "again": _command(engine, piece, terms, sampler.seconds),
            }
            pages[i] = pages[i].model_copy(update=outcome)
            file.finish(pages[i])
    return pages


def primed(bundle: Bundle, engine: Engine, pieces: Sequence[Piece], terms: Terms) -> Sampler:
    """Return what makes the pieces, about to begin."""
    sampler = Sampler(
        bundle,
        1 if terms.alone else [piece.clip for piece in pieces],
        seed=terms.seed,
        temperature=[piece.temperature for piece in pieces],
        engine=engine,
    )
    primes = [piece.prime.samples for piece in pieces if piece.prime is not None]
    if primes:
        sampler.prime(primes)
    return sampler


def _check_length(bundle: Bundle, pieces: Sequence[Piece], terms: Terms) -> None:
    rate = bundle.manifest.sample_rate
    if not terms.seconds * rate >= 1:
        raise UserError(f"--seconds {terms.seconds:g}: is less than a sample, of which there are {rate} a second")
    longest = _longest(pieces, terms, rate)
    if longest < terms.seconds < math.inf:
        raise UserError(
            f"--seconds {terms.seconds:g}: a .wav file holds {longest:.0f} of them here; choose .flac, or fewer"
        )


def _longest(pieces: Sequence[Piece], terms: Terms, sample_rate: int) -> float:
    """Return how many seconds the files can hold, besides their primes."""
    room = min(most_samples(piece.file.suffix, terms.bits) or math.inf for piece in pieces)
    primes = max(len(piece.prime.samples) if piece.prime and terms.include_prime else 0 for piece in pieces)
    return (room - primes) / sample_rate


def _command(engine: Engine, piece: Piece, terms: Terms, seconds: float) -> str | None:
    """Return the command that makes a piece again, by itself and as long as it came out."""
    if terms.source is None:
        return None
    words: list[object] = ["slash", "generate", terms.source, "--out", piece.file.name]
    words += [] if terms.alone else ["--clip", piece.clip]
    words += ["--seed", terms.seed, "--seconds", seconds, "--temperature", piece.temperature]
    words += ["--engine", engine.runtime.name, "--precision", engine.precision]
    if piece.prime is not None:
        page = piece.prime.page
        words += ["--prime", page.file, "--prime-start", page.start, "--prime-seconds", page.seconds]
    words += ["--include-prime"] * terms.include_prime
    words += [] if terms.normalise is None else ["--normalise", terms.normalise]
    words += [] if terms.bits == 16 else ["--bits", terms.bits]
    return shlex.join(map(str, words))
