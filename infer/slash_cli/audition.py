"""`slash audition`."""

from pathlib import Path
from typing import Annotated

import typer

from slash_cli.console import optional_packages, progress_bar, stdout, table
from slash_cli.drawing_options import CandidatesOption, FloorOption, RestartOption
from slash_cli.next_step import say_gallery
from slash_infer.errors import UserError
from slash_infer.files import check_exists
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, DEFAULT_TEMPERATURE


def audition(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by slash train.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="best, last, or a path; may be repeated. [default: all that are kept]"),
    ] = None,
    clips: Annotated[int, typer.Option("-n", help="Clips from each checkpoint.")] = 4,
    seconds: Annotated[float, typer.Option(help="Length of each clip.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the random draws, the same for each checkpoint.")] = 0,
    temperature: Annotated[
        str, typer.Option(help="A number, or one over time such as 0:0.9,5:1.05.")
    ] = f"{DEFAULT_TEMPERATURE:g}",
    floor: FloorOption = None,
    candidates: CandidatesOption = DEFAULT_CANDIDATES,
    restart: RestartOption = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table to this file, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing audition.")] = False,
) -> None:
    """Render the same clips from several checkpoints of a run, to choose by ear: the lowest loss may not sound best.

    \b
    slash audition run --out audition
    slash audition run --out audition -n 2 --checkpoint best --checkpoint last
    slash gallery audition --out page
    """
    from dataclasses import asdict

    from slash_infer.clips.best_of import LONGEST
    from slash_infer.files import check_file_output, real_path, write_json
    from slash_infer.sampling.floor import as_floor
    from slash_infer.sampling.randomness import check_keys
    from slash_infer.sampling.temperature import parse

    check_exists(run, ["run.json"])
    if not 1 <= clips <= 100:
        raise UserError(f"-n {clips}", "must be from 1 to 100")
    if not 0.1 <= seconds <= LONGEST:
        raise UserError(f"--seconds {seconds}", f"must be from 0.1 to {LONGEST:.0f}")
    check_keys(seed)
    schedule, *more = parse(temperature)
    if more:
        raise UserError(f"--temperature {temperature}", "takes one for all clips here")
    if json_file is not None:
        check_file_output(json_file, force=force, argument="json_file")
        if real_path(json_file).is_relative_to(real_path(out)):
            raise UserError(f"--json {json_file}", f"is inside {out}, which is to be made", "choose another file")
    with optional_packages("audition"):
        from slash_export.audition import audition as render_audition
        from slash_train.run import Run

    opened = Run(run)
    checked_floor = as_floor(floor, opened.preset.audio.codec.levels)
    found = [opened.checkpoints.find(which) for which in checkpoint or ()] or opened.checkpoints.all()
    if not found:
        raise UserError(run, "has no checkpoint yet", "train it first")
    chosen = {real_path(one.path): one for one in found}  # each once
    with progress_bar() as progress:
        task = progress.add_task("auditioning", total=len(chosen))
        lines = render_audition(
            opened,
            out,
            list(chosen.values()),
            clips=clips,
            seconds=seconds,
            seed=seed,
            temperature=schedule,
            floor=checked_floor,
            candidates=candidates,
            restart=restart,
            force=force,
            advance=lambda: progress.update(task, advance=1),
        )
    columns = ("valid bits", "score", "bits", "harmonic", "stuck", "distance", "faults")
    rows = table(f"{out}: {clips} clips of each, seed {seed}, on average", "step", *columns)
    for line in lines:
        rows.add_row(
            str(line.step),
            "" if line.valid_bits is None else f"{line.valid_bits:.3f}",
            f"{line.score:.3f}",
            f"{line.bits:.2f}",
            f"{line.harmonicity:.3f}",
            f"{line.stuck:.2f}",
            "" if line.distance is None else f"{line.distance:.4g}",
            ", ".join(line.faults),
        )
    stdout().print(rows)
    if json_file is not None:
        write_json(json_file, {"checkpoints": [asdict(line) for line in lines]}, force=force, argument="json_file")
    say_gallery(out)
