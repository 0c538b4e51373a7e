"""`slash bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import optional_packages, progress_bar, stderr, stdout, table
from slash_cli.drawing_options import CandidatesOption
from slash_cli.engine_options import (
    BundleArgument,
    EngineOption,
    PrecisionOption,
    choose_engine,
    open_bundle,
    rows_side_by_side,
)
from slash_cli.next_step import say_generate
from slash_infer.errors import UserError
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES

if TYPE_CHECKING:
    from slash_infer.bench.latency import Liveness
    from slash_infer.bench.throughput import Speed
    from slash_infer.bundle import Bundle
    from slash_infer.sampling.engine import Engine


def bench(
    bundle: BundleArgument = None,
    clips: Annotated[str, typer.Option("-n", help="Numbers of clips side by side, with commas.")] = "1,8,32",
    seconds: Annotated[
        float | None, typer.Option(help="Seconds of audio per clip and run. [default: 1]", show_default=False)
    ] = None,
    candidates: CandidatesOption = DEFAULT_CANDIDATES,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    live: Annotated[
        bool,
        typer.Option("--live", help="Can one clip be played while it is generated? With what margin and latency?"),
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --json file.")] = False,
) -> None:
    """Measure generation speed against realtime: the median of five interleaved runs after a warm-up.

    With --live, one clip is generated block by block for --seconds, 10 by default, as slash generate --play does it.

    \b
    slash bench
    slash bench bundle --live
    slash bench bundle -n 1,4 --seconds 5 --json speed.json
    """
    with optional_packages("bench"):
        import slash_infer.runtimes.onnx_cpu  # noqa: F401  for ONNX Runtime
    from dataclasses import asdict

    from slash_infer.files import check_file_output, write_json
    from slash_infer.machine import describe_machine

    batches = _batches(clips)
    if seconds is not None and not 0 < seconds <= 3600:
        raise UserError(f"--seconds {seconds}", "must be over 0 and at most 3600")
    if live and seconds is not None and seconds < 1:
        raise UserError(f"--seconds {seconds}", "--live needs from 1 to 3600 of them")
    if json_file is not None:
        check_file_output(json_file, force=force, argument="json_file")
    opened = open_bundle(bundle)
    chosen = choose_engine(opened, engine, precision, rows=rows_side_by_side(1 if live else max(batches), candidates))
    measured: dict[str, object]
    if live:
        measured = {"live": asdict(_measure_live(opened, chosen, seconds, candidates))}
    else:
        speeds = measure_and_print(opened, batches, seconds or 1.0, chosen, candidates)
        measured = {"speeds": [asdict(speed) for speed in speeds]}
    if json_file is not None:
        content = {
            "machine": asdict(describe_machine()),
            "bundle": opened.manifest.provenance.model_dump(mode="json"),
            "engine": chosen.description,
            "candidates": candidates,
            **measured,
        }
        write_json(json_file, content, force=force, argument="json_file")
    say_generate(bundle)


def _measure_live(bundle: "Bundle", engine: "Engine", seconds: float | None, candidates: int) -> "Liveness":
    """Measure one clip as it would be played, and print the margin."""
    from slash_infer.bench.latency import SECONDS, measure_live

    with stderr().status("playing to nobody"):
        found = measure_live(bundle, engine, seconds or SECONDS, candidates=candidates)
    rows = table(f"{bundle.path}: {engine.description}, one clip, live", f"{found.seconds:.1f} s of audio", "")
    rows.add_row("x realtime", f"{found.realtime:.2f}")
    rows.add_row("a block of audio", f"{1000 * found.block_seconds:.0f} ms")
    rows.add_row("generated in, median", f"{1000 * found.median_block:.0f} ms")
    rows.add_row("generated in, slowest", f"{1000 * found.slowest_block:.0f} ms")
    stdout().print(rows)
    if found.keeps_up and found.buffer_seconds is not None and found.latency is not None:
        stdout().print(
            f"keeps up, with {100 * (found.realtime - 1):.0f}% to spare: {1000 * found.buffer_seconds:.0f} ms kept "
            f"ready were enough, heard {1000 * found.latency:.0f} ms after the start "
            f"(slash generate --play --latency {max(0.02, 2 * found.buffer_seconds):.2g} leaves room for more)"
        )
    else:
        stdout().print("does not keep up: choose a smaller preset, another engine, or write a file and play that")
    return found


def measure_and_print(
    bundle: "Bundle", batches: list[int], seconds: float, engine: "Engine", candidates: int = DEFAULT_CANDIDATES
) -> "list[Speed]":
    """Measure a bundle, with a progress bar, and print the table with the machine and the versions."""
    from slash_infer.bench.throughput import RUNS, measure
    from slash_infer.machine import describe_machine

    with progress_bar() as progress:
        task = progress.add_task("measuring", total=RUNS * len(batches))
        speeds = measure(
            bundle,
            batches,
            engine,
            seconds=seconds,
            candidates=candidates,
            advance=lambda: progress.update(task, advance=1),
        )
    columns = ("samples/s", "slowest-fastest", "x realtime, one clip", "x realtime, batch")
    rows = table(f"{bundle.path}: {engine.description}, median of {RUNS} runs", "clips", *columns)
    for speed in speeds:
        rows.add_row(
            str(speed.clips),
            f"{speed.samples_per_second:,.0f}",
            f"{speed.slowest:,.0f}-{speed.fastest:,.0f}",
            f"{speed.realtime_clip:.2f}",
            f"{speed.realtime_batch:.2f}",
        )
    stdout().print(rows)
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    stdout().print(f"{machine.processor}, {machine.cores} cores; Python {machine.python}; {versions}")
    return speeds


def _batches(text: str) -> list[int]:
    """Read `1,8,32`."""
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or not all(1 <= batch <= 4096 for batch in batches):
        raise UserError(f"-n {text}", "must be numbers of clips from 1 to 4096 with commas between, such as 1,8,32")
    return batches
