"""Chooses the runtime and the precision that a bundle is opened with."""

from typing import get_args

from slash_infer.arguments import check_choice
from slash_infer.bundle import Bundle, check_bundle
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.protocol import Runtime, Unavailable
from slash_infer.runtimes.registry import check_engine_name, find_runtimes, runtime_named
from slash_infer.sampling.engine import Engine


def open_engine(bundle: Bundle, engine: EngineName = "auto", precision: PrecisionName = "auto") -> Engine:
    """Open a bundle on an engine, in a precision. What is asked for by name is used or refused, never replaced.

    Args:
        bundle: what to run.
        engine: `auto` takes the first of cluster, tensorrt, cuda and cpu that opens the bundle.
        precision: `auto` takes the one that the engine is fastest in, of those in the bundle.

    Returns:
        the engine. Its `why` says what kept `auto` from those that it tries first.

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
    reasons: list[str] = []
    for _, found in find_runtimes():
        if isinstance(found, Unavailable):
            reasons.append(str(found))
            continue
        try:
            return _open(bundle, found, precision, "; ".join(dict.fromkeys(reasons)))
        except UserError as reason:
            reasons.append(str(reason))
    raise UserError(bundle.path, f"no engine works: {'; '.join(dict.fromkeys(reasons))}")


def _open(bundle: Bundle, runtime: Runtime, precision: PrecisionName, why: str = "") -> Engine:
    """Open a bundle on a runtime."""
    if precision == "auto":
        in_bundle = [variant.precision for variant in bundle.manifest.variants]
        first = runtime.precisions[0]  # refused below if the bundle has none of them
        fastest = next((candidate for candidate in runtime.precisions if candidate in in_bundle), first)
        return Engine(bundle, runtime, fastest, why)
    if precision not in runtime.precisions:
        raise UserError(
            Argument("precision", precision),
            f"the engine {runtime.name} has no {precision}",
            f"choose {' or '.join(runtime.precisions)}, or another `engine`",
        )
    return Engine(bundle, runtime, precision, why)
