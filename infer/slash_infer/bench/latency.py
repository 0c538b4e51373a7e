"""Measures whether one clip can be played while it is generated, by what margin, and with what latency."""

import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from slash_infer.arguments import as_number
from slash_infer.bundle import Bundle
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import LIVE_BLOCK_SECONDS, Sampler

SECONDS = 10.0
"""Of audio to generate, when not given."""
RANGE = 0.01, 3600.0


@dataclass(frozen=True)
class Liveness:
    """How fast one clip is generated in the blocks that are used for playing."""

    block_seconds: float
    """Seconds of audio in a block."""
    seconds: float
    """Seconds of audio generated."""
    realtime: float
    """Seconds of audio per second of wall clock."""
    median_block: float
    """Median seconds of wall clock per block."""
    slowest_block: float
    """The most seconds of wall clock that a block took."""
    keeps_up: bool
    """Whether it was generated at least as fast as it would be played."""
    buffer_seconds: float | None
    """The smallest buffer, in seconds of audio, with which no block comes too late; None if no size is enough."""
    latency: float | None
    """Seconds of wall clock until the first sample is played, with that buffer."""


def measure_live(
    bundle: Bundle, engine: Engine, seconds: float = SECONDS, *, candidates: int = DEFAULT_CANDIDATES
) -> Liveness:
    """Generate `seconds` of one clip block by block, as for playing, and time each block.

    Raises:
        UserError: `seconds` are not from 0.01 to 3600, or `candidates` out of range.
    """
    as_number("seconds", seconds, *RANGE)

    def sampler_of_one() -> Sampler:
        return Sampler(bundle, 1, candidates=candidates, engine=engine, batch_invariant=False)

    sampler_of_one().generate(2 * LIVE_BLOCK_SECONDS)  # to warm up
    times: list[float] = []
    with sampler_of_one() as sampler:
        before = time.perf_counter()
        for _ in sampler.stream(seconds, block_seconds=LIVE_BLOCK_SECONDS):
            now = time.perf_counter()
            times.append(now - before)
            before = now
    generated = sampler.seconds
    block_seconds, realtime = generated / len(times), generated / sum(times)
    buffered = blocks_ahead(times, block_seconds)
    return Liveness(
        block_seconds=block_seconds,
        seconds=generated,
        realtime=realtime,
        median_block=statistics.median(times),
        slowest_block=max(times),
        keeps_up=realtime >= 1 and buffered is not None,
        buffer_seconds=None if buffered is None else buffered * block_seconds,
        latency=None if buffered is None else sum(times[:buffered]),
    )


def blocks_ahead(times: Sequence[float], block_seconds: float) -> int | None:
    """Return how many blocks the buffer must hold for playing never to run dry; None if no number is enough.

    Args:
        times: seconds of wall clock that each block took to generate, in order.
        block_seconds: seconds of audio in a block.
    """
    return next(
        (buffered for buffered in range(1, len(times)) if not _runs_dry(times, block_seconds, buffered)), None
    )


def _runs_dry(times: Sequence[float], block_seconds: float, buffered: int) -> bool:
    """Simulate playing that begins when `buffered` blocks are ready, and return whether a block ever comes too late.

    The generator starts a block when the previous one is done and the buffer has room for it.
    """
    done = list(itertools.accumulate(times[:buffered]))
    start = done[-1]
    for i, took in enumerate(times[buffered:], buffered):
        room = start + (i - buffered) * block_seconds  # when block i - buffered begins to play
        done.append(max(done[-1], room) + took)
        if done[i] > start + i * block_seconds:
            return True
    return False
