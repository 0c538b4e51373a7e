"""`slash verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import optional_packages, stderr, stdout, table
from slash_cli.engine_options import EngineOption
from slash_cli.next_step import say_generate
from slash_infer.choices import EngineName
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from slash_infer.runtimes.protocol import Runtime


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    engine: EngineOption = "auto",
) -> None:
    """Compare every engine and precision at hand with fp32 on the CPU: layers, logits, and the codes drawn.

    \b
    slash verify bundle
    slash verify bundle --engine tensorrt
    """
    with optional_packages("verify"):
        from slash_export.verify import Refusal
        from slash_export.verify import verify as compare
    from slash_infer.bundle import Bundle

    opened = Bundle(bundle)
    with stderr().status("comparing"):
        verdicts = compare(opened, _runtimes(engine))
    if parity := opened.manifest.parity:
        stdout().print(
            f"fp32 on the CPU drew the model's own codes at export: {parity.samples:,} identical, "
            f"logits within {parity.max_logit_difference:.1e}"
        )
    if not verdicts:
        held = ", ".join(variant.precision for variant in opened.manifest.variants)
        stdout().print(f"{bundle}: holds {held}, and no engine is here that could be compared")
        return
    columns = ("layers within", "logits within", "mean KL, nats", "codes alike", "verdict")
    rows = table(f"{bundle}: against fp32 on the CPU, the same uniforms", "engine and precision", *columns)
    for verdict in verdicts:
        if isinstance(verdict, Refusal):
            rows.add_row(f"{verdict.runtime} {verdict.precision}", "", "", "", "", "not compared")
            continue
        rows.add_row(
            f"{verdict.runtime} {verdict.precision}",
            f"{verdict.max_layer_difference:.1e}",
            "" if verdict.max_logit_difference is None else f"{verdict.max_logit_difference:.1e}",
            f"{verdict.mean_kl:.1e}",
            f"{verdict.identical:,} of {verdict.codes:,}",
            "ok" if verdict.fault is None else "FAULT",
        )
    stdout().print(rows)
    if any(not isinstance(one, Refusal) and one.fault is None and one.identical < one.codes for one in verdicts):
        stdout().print(
            "fewer codes alike are no fault: where a draw falls between two codes, rounding decides, "
            "and from there on each hears another past"
        )
    faults = [
        f"{one.runtime} {one.precision}: {fault}"
        for one in verdicts
        if (fault := one.reason if isinstance(one, Refusal) else one.fault) is not None
    ]
    if faults:
        raise UserError(bundle, f"{'; '.join(faults)}", "use another --engine or --precision")
    say_generate(bundle)


def _runtimes(engine: EngineName) -> "list[Runtime]":
    """Return the runtime named, or all that work, saying why the others do not."""
    from slash_infer.runtimes.protocol import Unavailable
    from slash_infer.runtimes.registry import find_runtimes, runtime_named

    if engine != "auto":
        return [runtime_named(engine)]
    found = []
    for name, runtime in find_runtimes():
        if isinstance(runtime, Unavailable):
            stderr().print(f"without {name}: {runtime}")
        else:
            found.append(runtime)
    return found
