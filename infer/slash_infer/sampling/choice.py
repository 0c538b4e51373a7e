"""Chooses what runs a bundle, and in which precision: the best at hand, or what is asked for by name, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.protocol import Runtime, Unavailable
from slash_infer.runtimes.registry import find_runtimes, runtime_named
from slash_infer.sampling.engine import Engine

EngineName = Literal["auto", "cpu", "cuda", "tensorrt"]
PrecisionName = Literal["auto", "fp32", "int8", "fp16"]


@dataclass(frozen=True)
class Chosen:
    """An engine, and why it is this one."""

    engine: Engine
    why: str


def open_engine(bundle: Bundle, engine: EngineName = "auto", precision: PrecisionName = "auto") -> Chosen:
    """Open a bundle on the engine and in the precision asked for.

    Args:
        bundle: what to run.
        engine: `auto` takes the first of tensorrt, cuda and cpu that opens the bundle; another must.
        precision: `auto` takes, of those the bundle has, the one the engine is fastest in.

    Raises:
        UserError: an engine or a precision asked for by name cannot be had; it says why and what would help.
    """
    had = [variant.precision for variant in bundle.manifest.variants]
    if precision != "auto":
        bundle.variant(precision)  # or it is refused here, whatever engines there are
    if engine != "auto":
        chosen, why = _open(bundle, runtime_named(engine), precision, had)
        return Chosen(chosen, f"--engine {engine}; {why}")
    reasons: list[str] = []
    for name, found in find_runtimes():
        if isinstance(found, Unavailable):
            reasons.append(str(found))
            continue
        try:
            chosen, why = _open(bundle, found, precision, had)
        except UserError as reason:
            reasons.append(str(reason))
            continue
        since = f", since {'; '.join(dict.fromkeys(reasons))}" if reasons else ", the fastest"
        return Chosen(chosen, f"{name}{since}; {why}")
    raise UserError(bundle.path, f"no engine works: {'; '.join(dict.fromkeys(reasons))}")


def _open(
    bundle: Bundle, runtime: Runtime[Any], precision: PrecisionName, had: Sequence[Precision]
) -> tuple[Engine, str]:
    """Open a bundle on a runtime; say why in this precision."""
    if precision == "auto":
        chosen = next(candidate for candidate in runtime.precisions if candidate in had)
        why = f"{chosen}, the fastest there of the bundle's {', '.join(had)}"
        return Engine(bundle, runtime, chosen), why
    if precision not in runtime.precisions:
        raise UserError(
            f"`precision` {precision}",
            f"the engine {runtime.name} has no {precision}",
            f"choose {' or '.join(runtime.precisions)}, or another `engine`",
        )
    return Engine(bundle, runtime, precision), f"--precision {precision}"
