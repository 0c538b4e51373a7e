"""Moves samples from a sampler into sinks: files, standard output, the speakers."""

import math
from collections.abc import Callable, Sequence

from slash_infer.audio.sinks import Sink
from slash_infer.runtimes.generation_state import Float32
from slash_infer.sampling.sampler import LIVE_BLOCK_SECONDS, Sampler


def pump(
    sampler: Sampler,
    sinks: Sequence[Sequence[Sink]],
    seconds: float = math.inf,
    *,
    primes: Sequence[Float32 | None] | None = None,
    block_seconds: float = LIVE_BLOCK_SECONDS,
    stop: Callable[[], object] = lambda: False,
) -> None:
    """Generate each clip into its sinks, block by block.

    Args:
        sampler: already primed.
        sinks: those of each clip.
        seconds: length of each clip.
        primes: what the sinks of each clip get before the first generated sample, [T] in [-1, 1], or None.
        block_seconds: length of a block.
        stop: called after every block; ends the clips where they are when it returns something true.
    """
    for clip_sinks, prime in zip(sinks, primes or [None] * len(sinks), strict=True):
        for sink in clip_sinks:
            if prime is not None:
                sink.write(prime)
    for block in sampler.stream(seconds, block_seconds=block_seconds):
        for clip_sinks, samples in zip(sinks, block, strict=True):
            for sink in clip_sinks:
                sink.write(samples)
        if stop():
            break
