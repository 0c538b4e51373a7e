"""Measures whether a bundle can be played while it is generated: with what margin, and after how long a wait."""

import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from slash_infer.audio.pcm_stream import BLOCK_SECONDS
from slash_infer.bundle import Bundle
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler

SECONDS = 10.0
"""Of audio to make."""


@dataclass(frozen=True)
class Liveness:
    """How one clip comes along, made in blocks as `slash generate --play` makes them."""

    block_seconds: float
    """Of audio in a block."""
    seconds: float
    """Of audio made."""
    realtime: float
    """Seconds of audio per second of wall clock."""
    median_block: float
    """Seconds of wall clock that half of the blocks took at most."""
    slowest_block: float
    keeps_up: bool
    """Whether it is made at least as fast as it is played."""
    buffer_seconds: float | None
    """The least audio to keep ready, in whole blocks, so that no block came too late; None if none is enough."""
    latency: float | None
    """Seconds from the start until it is heard, with that much kept ready."""


def measure_live(bundle: Bundle, engine: Engine, seconds: float = SECONDS) -> Liveness:
    """Generate one clip block by block, and see when each block was ready."""
    Sampler(bundle, 1, engine=engine).generate(2 * BLOCK_SECONDS)  # to warm up
    times: list[float] = []
    with Sampler(bundle, 1, engine=engine) as sampler:
        before = time.perf_counter()
        for _ in sampler.stream(seconds, block_seconds=BLOCK_SECONDS):
            now = time.perf_counter()
            times.append(now - before)
            before = now
    made = sampler.seconds
    block_seconds, realtime = made / len(times), made / sum(times)
    ahead = blocks_ahead(times, block_seconds)
    return Liveness(
        block_seconds=block_seconds,
        seconds=made,
        realtime=realtime,
        median_block=statistics.median(times),
        slowest_block=max(times),
        keeps_up=realtime >= 1 and ahead is not None,
        buffer_seconds=None if ahead is None else ahead * block_seconds,
        latency=None if ahead is None else sum(times[:ahead]),
    )


def blocks_ahead(times: Sequence[float], block_seconds: float) -> int | None:
    """Return how many blocks must be kept ready for playing never to wait, or None if all of them are not enough.

    Args:
        times: seconds that each block took to make, one after another.
        block_seconds: that it lasts.
    """
    return next((ahead for ahead in range(1, len(times)) if not _runs_dry(times, block_seconds, ahead)), None)


def _runs_dry(times: Sequence[float], block_seconds: float, ahead: int) -> bool:
    """Play what was made, from when `ahead` blocks are ready on: is a block ever wanted that is not there?

    A block is begun when the one before it is done and there is room for it.
    """
    done = list(itertools.accumulate(times[:ahead]))
    start = done[-1]
    for i, took in enumerate(times[ahead:], ahead):
        room = start + (i - ahead) * block_seconds  # when block i - ahead begins to leave
        done.append(max(done[-1], room) + took)
        if done[i] > start + i * block_seconds:
            return True
    return False
