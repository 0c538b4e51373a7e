"""Chooses the runtime and the precision that a bundle is opened with."""

import time
from typing import get_args

import numpy as np

from slash_infer.arguments import check_choice
from slash_infer.bundle import Bundle, check_bundle
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.protocol import Runtime, Unavailable
from slash_infer.runtimes.registry import check_engine_name, find_runtimes, runtime_named
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES
from slash_infer.sampling.engine import Engine

UNRIVALLED = ("cluster", "cpu")  # tried before those that it is faster than with any number of rows; the last resort
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
            they do, for a moment and takes the fastest.
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
    if precision != "auto":
        bundle.variant(precision)  # refused here, whatever engines there are, if the bundle does not have it
    if engine != "auto":
        return _open(bundle, runtime_named(engine), precision)
    opened: list[Engine] = []
    reasons: list[str] = []
    for name, found in find_runtimes():
        if isinstance(found, Unavailable):
            reasons.append(str(found))
            continue
        try:
            opened.append(_open(bundle, found, precision))
        except UserError as reason:
            reasons.append(str(reason))
        else:
            if name in UNRIVALLED:
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
    for engine, rate in rates.items():
        if best is not None and engine is not best and engine.runtime.name != "cpu":
            faster = f"{best.runtime.name} {rates[best]:.2g} x"
            reasons.append(f"{engine.runtime.name} runs at {rate:.2g} x realtime here, and {faster}")
    return [] if best is None else [best]


def _realtime(engine: Engine, rows: int) -> float:
    """Return seconds of audio per second, of all rows together."""
    manifest, batch = engine.manifest, Batch(engine, rows)
    uniform = np.full((rows, manifest.top_hop), 0.5, np.float32)
    temperature = np.ones((rows, 1), np.float32)
    batch.generate(uniform, temperature, 0.0)  # warms up
    steps, started, seconds = 0, time.perf_counter(), 0.0
    while seconds < TIMED_SECONDS:
        batch.generate(uniform, temperature, 0.0)
        steps, seconds = steps + 1, time.perf_counter() - started
    batch.close()
    return rows * steps * manifest.top_hop / manifest.sample_rate / seconds


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
