"""Measures generation speed as a multiple of realtime."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slash_infer.arguments import as_integer, as_number
from slash_infer.bundle import Bundle
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler

RUNS = 5
WARM_UP_SECONDS = 0.05  # of audio per batch size, before the timed runs


@dataclass(frozen=True)
class Speed:
    """Generation speed at one batch size: the median of several runs."""

    clips: int
    seconds: float
    """Seconds of audio per clip and run."""
    samples_per_second: float
    """All clips together."""
    realtime_clip: float
    """Seconds of audio per second of wall clock, for each clip."""
    realtime_batch: float
    """Seconds of audio per second of wall clock, all clips together."""
    slowest: float
    """Samples per second of the slowest run."""
    fastest: float
    """Samples per second of the fastest run."""


def measure(
    bundle: Bundle,
    batches: Sequence[int],
    engine: Engine,
    *,
    seconds: float = 1.0,
    candidates: int = DEFAULT_CANDIDATES,
    runs: int = RUNS,
    advance: Callable[[], None] = lambda: None,
) -> list[Speed]:
    """Time generation at several batch sizes, their runs interleaved so that noise on the machine affects all alike.

    Args:
        bundle: the exported model.
        batches: batch sizes, in clips.
        engine: the bundle opened on a runtime.
        seconds: of audio per clip and run.
        candidates: as for a `Sampler`.
        runs: timed runs per batch size.
        advance: called after every run.

    Returns:
        the speed at each batch size, in the order of `batches`.

    Raises:
        UserError: `seconds`, `runs` or `candidates` are out of range.
    """
    as_number("seconds", seconds, 0.001, 3600)
    as_integer("runs", runs, 1, 10_000)
    rates: list[list[float]] = [[] for _ in batches]
    for clips in batches:
        Sampler(bundle, range(clips), candidates=candidates, engine=engine).generate(WARM_UP_SECONDS)
    for run in range(runs):
        for clips, rate in zip(batches, rates, strict=True):
            sampler = Sampler(bundle, range(clips), seed=run, candidates=candidates, engine=engine)
            start = time.perf_counter()
            samples = sampler.generate(seconds)
            rate.append(samples.size / (time.perf_counter() - start))
            advance()
    return [
        _summarise(clips, seconds, rate, bundle.manifest.sample_rate)
        for clips, rate in zip(batches, rates, strict=True)
    ]


def _summarise(clips: int, seconds: float, rates: list[float], sample_rate: int) -> Speed:
    median = statistics.median(rates)
    return Speed(
        clips=clips,
        seconds=seconds,
        samples_per_second=median,
        realtime_clip=median / clips / sample_rate,
        realtime_batch=median / sample_rate,
        slowest=min(rates),
        fastest=max(rates),
    )
