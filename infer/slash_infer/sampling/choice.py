"""Chooses the runtime and the precision that a bundle is opened with."""

import time
from typing import get_args

import numpy as np

from slash_infer.arguments import as_integer, check_choice
from slash_infer.bundle import Bundle, check_bundle
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.protocol import Runtime, Unavailable
from slash_infer.runtimes.registry import BY_NAME_ALONE, check_engine_name, find_runtimes, runtime_named
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.steering import block_length

UNRIVALLED = "cluster"  # on an H100 it was faster than cuda with every number of rows that was measured
MOST_ROWS = 1 << 32
MOST_TIMED = 256  # rows
TIMED_SECONDS = 0.2
MARGIN = 1.25  # by which an engine must be faster than one that comes before it, so that the choice does not waver


def open_engine(
    bundle: Bundle,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    *,
    rows: int = DEFAULT_CANDIDATES,
) -> Engine:
    """Open a bundle on an engine, in a precision. What is asked for by name is used or refused, never replaced.

    Args:
        bundle: what to run.
        engine: `auto` takes cluster if that opens the bundle. Otherwise it times tensorrt, cuda and cpu, as far as
            they do, for a moment, and takes one that comes later if it is faster by a quarter. It never takes
            compiled, which is to be asked for.
        precision: `auto` takes the one that the engine is fastest in, of those in the bundle.
        rows: clips side by side, times candidates, that `auto` times engines with; up to 256.

    Returns:
        the engine. Its `why` says what kept `auto` from others.

    Raises:
        UserError: an argument is of another type, or the engine or precision asked for is not available. The message
            says why, and what would help.
    """
    check_bundle(bundle)
    check_engine_name(engine)
    check_choice("precision", precision, get_args(PrecisionName))
    rows = as_integer("rows", rows, 1, MOST_ROWS)
    if precision != "auto":
        bundle.variant(precision)  # refused here, whatever engines there are, if the bundle does not have it
    if engine != "auto":
        return _open(bundle, runtime_named(engine), precision)
    opened: list[Engine] = []
    reasons: list[str] = []
    for name, found in find_runtimes(without=BY_NAME_ALONE):
        if isinstance(found, Unavailable):
            reasons.append(str(found))
            continue
        try:
            opened.append(_open(bundle, found, precision))
        except UserError as reason:
            reasons.append(str(reason))
        else:
            if name == UNRIVALLED:
                break
    if len(opened) > 1:
        opened = _fastest(opened, min(rows, MOST_TIMED), reasons)
    if not opened:
        raise UserError(bundle.path, f"no engine works: {'; '.join(dict.fromkeys(reasons))}")
    opened[0].why = "; ".join(dict.fromkeys(reasons))
    return opened[0]


def _fastest(engines: list[Engine], rows: int, reasons: list[str]) -> list[Engine]:
    """Return the fastest alone, none if all fail, and add what speaks against the others to the reasons."""
    rates = dict[Engine, float]()
    for engine in engines:
        try:
            rates[engine] = _realtime(engine, rows)
        except UserError as reason:
            reasons.append(str(reason))
    best: Engine | None = None
    for engine, rate in rates.items():
        if best is None or rate > MARGIN * rates[best]:
            best = engine
    if best is None:
        return []
    for engine, rate in rates.items():
        if engine is not best:
            how = "is not a quarter faster" if rate > rates[best] else "is slower"
            name, taken = engine.runtime.name, best.runtime.name
            reasons.append(f"{name} {how} here: {rate:.2g} x realtime, and {taken} {rates[best]:.2g} x")
    return [best]


def _realtime(engine: Engine, rows: int) -> float:
    """Return seconds of audio per second, of all rows together, in blocks as long as a sampler's."""
    hop, rate = engine.manifest.top_hop, engine.manifest.sample_rate
    batch = Batch(engine, rows)

    def seconds(steps: int) -> float:
        uniform, temperature = np.full((rows, steps * hop), 0.5, np.float32), np.ones((rows, steps), np.float32)
        started = time.perf_counter()
        batch.generate(uniform, temperature, 0.0)
        return time.perf_counter() - started

    seconds(1)  # warms up
    steps = min(block_length(rate, hop) // hop, max(1, int(TIMED_SECONDS / seconds(1))))
    taken = list[float]()
    while sum(taken) < TIMED_SECONDS:
        taken.append(seconds(steps))
    batch.close()
    return rows * steps * len(taken) * hop / rate / sum(taken)


def _open(bundle: Bundle, runtime: Runtime, precision: PrecisionName) -> Engine:
    """Open a bundle on a runtime."""
    if precision == "auto":
        in_bundle = [variant.precision for variant in bundle.manifest.variants]
        first = runtime.precisions[0]  # refused below if the bundle has none of them
        fastest = next((candidate for candidate in runtime.precisions if candidate in in_bundle), first)
        return Engine(bundle, runtime, fastest)
    if precision not in runtime.precisions:
        raise UserError(
            Argument("precision", precision),
            f"the engine {runtime.name} has no {precision}",
            f"choose {' or '.join(runtime.precisions)}, or another `engine`",
        )
    return Engine(bundle, runtime, precision)
