"""`slash generate`."""

import math
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slash_infer.cli.choice import EngineName, EngineOption, PrecisionName, PrecisionOption, choose_engine
from slash_infer.cli.console import duration, optional_packages, progress_bar, stdout
from slash_infer.errors import UserError

MIN_SECONDS = 0.01
MAX_SECONDS = 24 * 3600.0
MAX_CLIPS = 1_000_000


class Format(StrEnum):
    """Audio formats for the clips of a folder."""

    wav = "wav"
    flac = "flac"


def generate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    out: Annotated[Path, typer.Option(help="A .wav or .flac file, or a folder for several clips.")],
    clips: Annotated[int, typer.Option("-n", help="Number of clips.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of each clip.")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same clips. [default: a new one]")] = None,
    temperature: Annotated[float, typer.Option(help="Under 1 plays safer, over 1 wilder.")] = 1.0,
    engine: EngineOption = EngineName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    audio_format: Annotated[Format, typer.Option("--format", help="Of the files in a folder.")] = Format.wav,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Generate audio from a bundle. Needs no PyTorch.

    \b
    slash generate bundle --out clip.wav --seconds 10
    slash generate bundle --out clips -n 8 --seconds 5 --seed 1 --temperature 0.95
    slash generate bundle --out clip.wav --engine cpu --precision fp32
    """
    with optional_packages("generate"):
        from slash_infer.bundle import Bundle
        from slash_infer.randomness import check_keys
        from slash_infer.render import render
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    if not 1 <= clips <= MAX_CLIPS:
        raise UserError(f"-n {clips}: must be from 1 to {MAX_CLIPS}")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise UserError(f"--seconds {seconds}: must be at least {MIN_SECONDS} and at most {MAX_SECONDS:.0f}")
    if not (math.isfinite(temperature) and 0.01 <= temperature <= 100):
        raise UserError(f"--temperature {temperature}: must be from 0.01 to 100")
    files = _files(out, clips, audio_format, force=force)
    opened = Bundle(bundle)
    chosen = secrets.randbelow(2**32) if seed is None else seed
    check_keys(chosen)
    player = choose_engine(opened, engine, precision)
    description = TextColumn("{task.description}", markup=False)
    columns = (
        TextColumn("generating"),
        BarColumn(),
        description,
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as progress:
        task = progress.add_task("", total=seconds * clips)
        rendered = render(
            opened,
            files,
            player,
            seconds=seconds,
            seed=chosen,
            temperature=temperature,
            advance=lambda made, realtime: progress.update(
                task, advance=made, description=f"{realtime:.2f} x realtime"
            ),
        )
    speed = f"{rendered.realtime_clip:.2f} x realtime"
    if clips > 1:
        speed += f" each, {rendered.realtime_batch:.2f} x for the {rendered.together} made together"
    stdout().print(f"{out}: {clips} x {duration(seconds)}, seed {chosen}, {speed}")


def _files(out: Path, clips: int, audio_format: Format, *, force: bool) -> list[Path]:
    """Decide where each clip goes, refusing what exists."""
    from slash_infer.files import check_file_output
    from slash_infer.render import FORMATS, MADE_BY

    known = ", ".join(FORMATS)
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if clips > 1:
            raise UserError(f"{out}: is one file and {clips} clips were asked for; give a folder")
        files = [out]
    elif out.suffix.lower() in (".mp3", ".ogg", ".aif", ".aiff", ".m4a", ".opus", ".raw"):
        raise UserError(f"{out}: {out.suffix} is not written; choose {known}, or a folder")
    else:
        if out.exists() and (not force or not out.is_dir()):
            check_file_output(out, force=False)
        files = [out / f"clip-{clip:04d}.{audio_format.value}" for clip in range(clips)]
    for file in files:
        for other in FORMATS:
            if other != file.suffix.lower() and file.with_suffix(other).exists():
                raise UserError(f"{file}: would take the sidecar of {file.with_suffix(other)}; choose another --out")
        check_file_output(file, force=force)
        check_file_output(file.with_suffix(".json"), force=force, made_by=MADE_BY)
    return files
