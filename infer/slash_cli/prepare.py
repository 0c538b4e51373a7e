"""`slash prepare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import BAR_WIDTH, duration, optional_packages, progress_bar, stdout, table
from slash_cli.next_step import say_next, unused
from slash_train.choices import Channel, Scale

if TYPE_CHECKING:
    from rich.table import Table

    from slash_train.corpus import CorpusManifest, Recording
    from slash_train.finding import LeftOut

BOX_RATE, STUDIO_RATE = 16_000, 44_100  # of the model that comes with Slash, and of the preset, in Hz
LEARNED_MINUTES = 3
"""To go on from the box, for each minute of recordings; more is learned by heart (docs/performance.md)."""
LISTED = 20
"""Recordings without a remark that are listed one by one; more are counted."""
NAMED = 5
"""Files that are no recordings and end alike that are named; more are counted."""
COUNTED = {"not audio", "hidden"}
LEVELS_SAID = 20.0  # dB between recordings


def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC", help="Audio files, or folders to search.")],
    out: Annotated[Path, typer.Option(help="The corpus to make, a folder.")],
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the corpus in Hz.")] = 16_000,
    channel: Annotated[Channel, typer.Option(help="Which channel of a recording to take.")] = "mix",
    valid: Annotated[
        float | None,
        typer.Option(
            help="Fraction held out for validation. [default: 0.1, or folders called train, valid and test]",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Fraction held out for testing. [default: likewise]", show_default=False)
    ] = None,
    valid_list: Annotated[
        Path | None, typer.Option(help="A file that names the recordings for validation, one a line.")
    ] = None,
    test_list: Annotated[Path | None, typer.Option(help="One that names those for testing.")] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            help="recording: each fills the range by itself, as in published experiments, and its zero may move."
        ),
    ] = "corpus",
    remove_dc: Annotated[
        bool, typer.Option("--remove-dc", help="Take out offsets from zero, and what drifts under the sound.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out recordings that cannot be used.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing corpus.")] = False,
) -> None:
    """Make a corpus from recordings of any rate, depth and channel count, and say what became of every file.

    WAV, AIFF, FLAC, OGG, Opus, MP3 and all else that libsndfile reads; M4A, WMA, video and more with PyAV
    (pip install 'slash-audio[decode]').

    \b
    slash prepare solos/ --out corpus
    slash prepare voice.mp3 more/ --out corpus --sample-rate 8000 --channel left
    """
    with optional_packages("prepare"):
        from slash_train.prepare import prepare as make_corpus
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    left_out: list[LeftOut] = []
    said: list[str] = []
    name_column = TextColumn("{task.description}", markup=False)
    bar = BarColumn(BAR_WIDTH), MofNCompleteColumn(), TimeRemainingColumn()
    with progress_bar(TextColumn("preparing"), *bar, name_column) as progress:
        task = progress.add_task("", total=None)
        manifest = make_corpus(
            sources,
            out,
            sample_rate=sample_rate,
            channel=channel,
            valid=valid,
            test=test,
            valid_list=valid_list,
            test_list=test_list,
            scale=scale,
            remove_dc=remove_dc,
            skip_bad=skip_bad,
            force=force,
            advance=lambda name, total: progress.update(task, advance=1, total=total, description=name),
            left_out=left_out.append,
            say=said.append,
        )
    print_corpus(out, manifest)
    for line in said:
        stdout().print(f"{line}; --valid and --test divide it otherwise")
    print_account(manifest, left_out)
    say_train(out, manifest)


def say_train(corpus: Path, manifest: "CorpusManifest") -> None:
    """Print how to learn from a corpus."""
    rate = manifest.sample_rate
    minutes = round(LEARNED_MINUTES * manifest.length("train") / rate / 60)
    how: dict[int, list[object]] = {
        BOX_RATE: ["--init-from", "box", "--minutes", min(max(minutes, 2), 10)],
        STUDIO_RATE: ["--preset", "studio"],
    }
    otherwise = ["--preset", "live", "--set", f"audio.sample_rate={rate}", "--minutes", 30]
    say_next("train", corpus, "--out", unused("run"), *how.get(rate, otherwise))


def print_corpus(path: Path, manifest: "CorpusManifest") -> None:
    """Print what went into a corpus: a line for each split, and the totals that reveal a bad recording."""
    from slash_train.corpus import SPLITS
    from slash_train.measurement import SILENCE

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
    if manifest.gain_db is None:
        facts.add_row("scale", "each recording fills the range by itself")
    else:
        facts.add_row("gain applied to all", f"{manifest.gain_db:+.1f} dB")
    clipped = [recording for recording in recordings if recording.clipped]
    facts.add_row("clipped", f"{sum(r.clipped for r in clipped)} samples in {len(clipped)} files")
    silent = sum(recording.silent_seconds for recording in recordings)
    facts.add_row("silent", f"{duration(silent)} ({100 * silent * rate / total:.1f}%)")
    levels = sorted((r.level_db, r.name) for r in recordings if r.peak >= SILENCE)
    if levels and levels[-1][0] - levels[0][0] > LEVELS_SAID:
        (low, quiet), (high, loud) = levels[0], levels[-1]
        facts.add_row("levels differ", f"by {high - low:.0f} dB: {quiet} {low:.0f} dB, {loud} {high:.0f} dB")
    stdout().print(facts)


def print_account(manifest: "CorpusManifest", left_out: Sequence["LeftOut"]) -> None:
    """Print what became of every file: recordings with what is odd about them, then what was left out and why."""
    rows = table("", "file", "length")
    rows.add_column("", overflow="fold")
    plain = [recording for recording in manifest.recordings if not recording.remarks]
    for recording in manifest.recordings:
        if recording.remarks or len(plain) <= LISTED:
            _add_used(rows, manifest, [recording], recording.name, "; ".join(recording.remarks))
    if len(plain) > LISTED:
        _add_used(rows, manifest, plain, f"{len(plain)} recordings without a remark", "")
    for name, why in _grouped(left_out):
        rows.add_row(name, "left out", why)
    stdout().print(rows)


def _add_used(
    rows: "Table", manifest: "CorpusManifest", recordings: Sequence["Recording"], name: str, remark: str
) -> None:
    rows.add_row(name, duration(sum(recording.length for recording in recordings) / manifest.sample_rate), remark)


def _grouped(left_out: Sequence["LeftOut"]) -> list[tuple[str, str]]:
    """Name what was left out, or count it where it is many of a kind, with the reason."""
    groups: dict[tuple[str, str], list[LeftOut]] = {}
    for each in left_out:
        groups.setdefault((each.why, each.path.suffix.lower()), []).append(each)
    rows = []
    for (why, suffix), files in groups.items():
        if len(files) > NAMED and why in COUNTED:
            rows.append((f"{len(files)} {suffix or 'other'} files", why))
        else:
            rows += [(str(each.path).encode(errors="replace").decode(), why) for each in files]
    return rows
