"""`slash compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, stderr, stdout, table

if TYPE_CHECKING:
    from slash_infer.audio.ear.comparison import Comparison, Score
    from slash_infer.audio.ear.copies import Copy

MADE_BY = "slash compare"


def compare(
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIPS...", help="WAV, FLAC or OGG files, and folders of them.")
    ],
    to: Annotated[
        list[Path],
        typer.Option(help="A folder made by slash prepare; or recordings, or folders of them. May be repeated."),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the measures of the set and of each clip to this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing JSON file.")] = False,
) -> None:
    """Say how far clips are from recordings, and whether they copy them, beside what other recordings score.

    The distance, harmonicity, stuck, onsets and centroid are defined in docs/measures.md.

    \b
    slash compare clips --to corpus
    slash compare clips/clip-0001.wav audition --to recordings --json measures.json
    """
    with optional_packages("compare"):
        from slash_cli.compared_audio import clip_sources, recordings_to_compare
        from slash_infer.audio.ear.comparison import compare as compare_sources
        from slash_infer.files import check_file_output, write_json

    if json_file is not None:
        check_file_output(json_file, force=force, made_by=MADE_BY, argument="json_file")
    found = clip_sources(clips)
    learned, held_out = recordings_to_compare(to)
    with stderr().status("listening"):
        compared = compare_sources(found, learned, held_out)
    _print(compared, to)
    if json_file is not None:
        from dataclasses import asdict

        content = {"made_by": MADE_BY, "to": [str(path) for path in to], **asdict(compared)}
        write_json(json_file, content, force=force, made_by=MADE_BY, argument="json_file")


ROWS = {
    "distance": "{.distance:.4g}",
    "harmonicity": "{.harmonicity:.3f}",
    "stuck": "{.stuck:.2f}",
    "onsets per second": "{.onsets:.2f}",
    "centroid, Hz": "{.centroid:.0f}",
    "level, dB": "{.level_db:.1f}",
    "longest copy, s": "{.longest_copy:.2f}",
    "median copy, s": "{.median_copy:.2f}",
    "longest passage, s": "{.longest_passage:.2f}",
}


def _print(compared: "Comparison", to: Sequence[Path]) -> None:
    learned = _amount(compared.reference_count, compared.reference_seconds, "recording")
    rows = table(f"against {learned} of {', '.join(map(str, to))}", "", "clips", "recordings")
    for name, shown in ROWS.items():
        rows.add_row(name, shown.format(compared.clips), shown.format(compared.recordings))
    rows.add_row("audio", duration(compared.clips.seconds), duration(compared.recordings.seconds))
    stdout().print(rows)
    stdout().print(f"recordings: {_baseline(compared)}")
    _print_longest("copy", [(clip.name, clip.copy) for clip in compared.each])
    _print_longest("passage", [(clip.name, clip.passage) for clip in compared.each])


def _print_longest(what: str, found: "Sequence[tuple[str, Copy | None]]") -> None:
    """Say where the longest of some clips' copies is, if any has one."""
    copied = [(copy.seconds, name, copy) for name, copy in found if copy is not None]
    if copied:
        seconds, name, copy = max(copied, key=lambda one: one[0])
        stdout().print(
            f"longest {what}: {seconds:.2f} s of {name} at {copy.start:.2f} s, "
            f"from {copy.recording} at {copy.recording_start:.2f} s"
        )


def _baseline(compared: "Comparison") -> str:
    """Say what the measures of the recordings are of."""
    score: Score = compared.recordings
    if compared.held_out:
        return f"{_amount(score.count, score.seconds, 'held-out recording')} against the training split"
    each = "each" if score.count <= 8 else "an eighth at a time"
    return f"{each} against the others, {duration(score.seconds / min(8, score.count))} at a time on average"


def _amount(count: int, seconds: float, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'} ({duration(seconds)})"
