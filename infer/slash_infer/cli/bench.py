"""`slash bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_infer.cli.choice import EngineName, EngineOption, PrecisionName, PrecisionOption, choose_engine
from slash_infer.cli.console import optional_packages, progress_bar, stdout, table
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from slash_infer.bench import Speed
    from slash_infer.bundle import Bundle
    from slash_infer.engine import Engine


def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    clips: Annotated[str, typer.Option("-n", help="Numbers of clips side by side, with commas.")] = "1,8,32",
    seconds: Annotated[float, typer.Option(help="Seconds of audio per clip and run.")] = 1.0,
    engine: EngineOption = EngineName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --json file.")] = False,
) -> None:
    """Measure generation speed against realtime: the median of five interleaved runs after a warm-up.

    \b
    slash bench bundle
    slash bench bundle -n 1,4 --seconds 5 --json speed.json
    """
    with optional_packages("bench"):
        import slash_infer.onnx_cpu  # noqa: F401  for ONNX Runtime
    from dataclasses import asdict

    from slash_infer.bundle import Bundle
    from slash_infer.files import check_file_output, write_json
    from slash_infer.machine import describe_machine

    batches = _batches(clips)
    if not 0 < seconds <= 3600:
        raise UserError(f"--seconds {seconds}: must be over 0 and at most 3600")
    if json_file is not None:
        check_file_output(json_file, force=force)
    opened = Bundle(bundle)
    chosen = choose_engine(opened, engine, precision)
    speeds = measure_and_print(opened, batches, seconds, chosen)
    if json_file is not None:
        provenance = opened.manifest.provenance.model_dump(mode="json")
        speed_lines = [asdict(speed) for speed in speeds]
        content = {
            "machine": asdict(describe_machine()),
            "bundle": provenance,
            "engine": chosen.description,
            "speeds": speed_lines,
        }
        write_json(json_file, content)


def measure_and_print(bundle: "Bundle", batches: list[int], seconds: float, engine: "Engine") -> "list[Speed]":
    """Measure a bundle behind a progress bar and print the table, with the machine and the versions."""
    from slash_infer.bench import RUNS, measure
    from slash_infer.machine import describe_machine

    with progress_bar() as progress:
        task = progress.add_task("measuring", total=RUNS * len(batches))
        speeds = measure(bundle, batches, engine, seconds=seconds, advance=lambda: progress.update(task, advance=1))
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
        raise UserError(f"-n {text}: must be numbers of clips from 1 to 4096 with commas between, such as 1,8,32")
    return batches
