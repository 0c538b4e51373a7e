"""`slash prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, progress_bar, stdout, table
from slash_train.choices import Channel

if TYPE_CHECKING:
    from slash_train.corpus import CorpusManifest


def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC", help="Audio files, or folders to search.")],
    out: Annotated[Path, typer.Option(help="The corpus to make, a folder.")],
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the corpus in Hz.")] = 16_000,
    channel: Annotated[Channel, typer.Option(help="Which channel of a recording to take.")] = "mix",
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
    name_column = TextColumn("{task.description}", markup=False)
    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), name_column, TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        task = progress.add_task("", total=len(recordings))
        manifest = make_corpus(
            recordings,
            out,
            sample_rate=sample_rate,
            channel=channel,
            valid=valid,
            test=test,
            force=force,
            advance=lambda name: progress.update(task, advance=1, description=name),
        )
    print_corpus(out, manifest)


def print_corpus(path: Path, manifest: "CorpusManifest") -> None:
    """Print what went into a corpus: a line for each split, and the totals that reveal a bad recording."""
    from slash_train.corpus import SPLITS

    recordings, rate = manifest.recordings, manifest.sample_rate
    rows = table(f"{path}: {rate} Hz mono", "split", "files", "length")
    for split in SPLITS:
        files = sum(any(region.split == split for region in recording.regions) for recording in recordings)
        rows.add_row(split, str(files), duration(manifest.length(split) / rate))
    total = sum(recording.length for recording in recordings)
    rows.add_row("all", str(len(recordings)), duration(total / rate))
    stdout().print(rows)
    facts = table("", "as recorded", "")
    facts.add_row("peak", f"{max(recording.peak for recording in recordings):.3f} of full scale")
    facts.add_row("gain applied to all", f"{manifest.gain_db:+.1f} dB")
    clipped = [recording for recording in recordings if recording.clipped]
    facts.add_row("clipped", f"{sum(r.clipped for r in clipped)} samples in {len(clipped)} files")
    silent = sum(recording.silent_seconds for recording in recordings)
    facts.add_row("silent", f"{duration(silent)} ({100 * silent * rate / total:.1f}%)")
    stdout().print(facts)
