"""`slash prepare`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, progress_bar, stdout, table

if TYPE_CHECKING:
    from slash_train.corpus import CorpusManifest


class Channel(StrEnum):
    """How several channels become one."""

    mix = "mix"
    left = "left"
    right = "right"


def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC", help="Audio files, or folders to search.")],
    out: Annotated[Path, typer.Option(help="The corpus to make, a folder.")],
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the corpus in Hz.")] = 16_000,
    channel: Annotated[Channel, typer.Option(help="Which channel of a recording to take.")] = Channel.mix,
    valid: Annotated[float, typer.Option(help="Fraction held out for validation.")] = 0.1,
    test: Annotated[float, typer.Option(help="Fraction held out for testing.")] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing corpus.")] = False,
) -> None:
    """Make a corpus from WAV, FLAC, OGG and MP3 recordings of any rate, depth and channel count.

    \b
    slash prepare solos/ --out corpus
    slash prepare voice.mp3 more/ --out corpus --sample-rate 8000 --channel left
    """
    with optional_packages("prepare"):
        from slash_train.prepare import prepare as make_corpus
        from slash_train.recordings import find_recordings
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    recordings = find_recordings(sources)
    description = TextColumn("{task.description}", markup=False)
    columns = (
        TextColumn("preparing"),
        BarColumn(),
        MofNCompleteColumn(),
        description,
    )
    with progress_bar(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=len(recordings))
        page = make_corpus(
            recordings,
            out,
            sample_rate=sample_rate,
            channel=channel.value,
            valid=valid,
            test=test,
            force=force,
            advance=lambda name: progress.update(task, advance=1, description=name),
        )
    print_corpus(out, page)


def print_corpus(path: Path, page: "CorpusManifest") -> None:
    """Print what went into a corpus: a line per split, and the totals that tell a bad recording."""
    from slash_train.corpus import SPLITS

    rows = table(f"{path}: {page.sample_rate} Hz mono", "split", "files", "length")
    for split in SPLITS:
        files = sum(any(region.split == split for region in recording.regions) for recording in page.recordings)
        rows.add_row(split, str(files), duration(page.length(split) / page.sample_rate))
    total = sum(recording.length for recording in page.recordings)
    rows.add_row("all", str(len(page.recordings)), duration(total / page.sample_rate))
    stdout().print(rows)
    facts = table("", "as recorded", "")
    facts.add_row("peak", f"{max(recording.peak for recording in page.recordings):.3f} of full scale")
    facts.add_row("gain applied to all", f"{page.gain_db:+.1f} dB")
    clipped = [recording for recording in page.recordings if recording.clipped]
    facts.add_row("clipped", f"{sum(r.clipped for r in clipped)} samples in {len(clipped)} files")
    silent = sum(recording.silent_seconds for recording in page.recordings)
    facts.add_row("silent", f"{duration(silent)} ({100 * silent * page.sample_rate / total:.1f}%)")
    stdout().print(facts)
