"""`slash bench`."""

from pathlib import Path
from typing import Annotated

import typer

from slash_infer.cli.console import optional_packages, stderr, stdout, table
from slash_infer.errors import UserError


def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    clips: Annotated[str, typer.Option("-n", help="Numbers of clips side by side, with commas.")] = "1,8,32",
    seconds: Annotated[float, typer.Option(help="Seconds of audio per clip and run.")] = 1.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --json file.")] = False,
) -> None:
    r"""Measure generation speed against realtime: the median of five interleaved runs after a warm-up.

    \b
    slash bench bundle
    slash bench bundle -n 1,4 --seconds 5 --json speed.json
    """
    with optional_packages("bench"):
        from slash_infer.bench import RUNS, measure
        from slash_infer.bundle import Bundle
    from dataclasses import asdict

    from rich.progress import Progress

    from slash_infer.files import refuse_to_overwrite, write_json
    from slash_infer.machine import describe_machine

    batches = _batches(clips)
    if not 0 < seconds <= 3600:
        raise UserError(f"--seconds {seconds}: must be over 0 and at most 3600")
    if json_file is not None:
        refuse_to_overwrite(json_file, force=force)
    opened = Bundle(bundle)
    with Progress(console=stderr(), transient=True) as progress:
        task = progress.add_task("measuring", total=RUNS * len(batches))
        speeds = measure(opened, batches, seconds=seconds, advance=lambda: progress.update(task, advance=1))
    machine = describe_machine()
    title = f"{bundle}: {machine['processor']}, {machine['cores']} cores, ONNX Runtime CPU"
    rows = table(title, "clips", "samples/s", "slowest-fastest", "x realtime, one clip", "x realtime, batch")
    for speed in speeds:
        rows.add_row(
            str(speed.clips),
            f"{speed.samples_per_second:,.0f}",
            f"{speed.slowest:,.0f}-{speed.fastest:,.0f}",
            f"{speed.realtime_clip:.2f}",
            f"{speed.realtime_batch:.2f}",
        )
    stdout().print(rows)
    if json_file is not None:
        provenance = opened.manifest.provenance.model_dump(mode="json")
        result = {"machine": machine, "bundle": provenance, "speeds": [asdict(speed) for speed in speeds]}
        write_json(json_file, result)


def _batches(text: str) -> list[int]:
    """Read `1,8,32`."""
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or not all(1 <= batch <= 4096 for batch in batches):
        raise UserError(f"-n {text}: must be numbers of clips from 1 to 4096 with commas between, such as 1,8,32")
    return batches
