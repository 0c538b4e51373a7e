"""`slash evaluate`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, stderr, stdout, table
from slash_cli.next_step import say_export, say_generate
from slash_infer.choices import PrecisionName
from slash_infer.errors import UserError
from slash_infer.files import check_exists, check_file_output, write_json
from slash_train.choices import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slash_train.evaluate import FileScore, Scorer

MADE_BY = "slash evaluate"


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run or a bundle.")],
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A folder made by slash prepare.")],
    split: Annotated[Split, typer.Option(help="The part of the corpus to score.")] = "test",
    checkpoint: Annotated[str, typer.Option(help="Of a run: best, last, or a path.")] = "best",
    device: Annotated[str, typer.Option(help="For a run: auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        PrecisionName | None,
        typer.Option(help="For a bundle. [default: fp32, or the first that it has]", show_default=False),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table to this file, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing JSON file.")] = False,
) -> None:
    """Score a model on recordings, in bits per sample: the lower, the better it predicts them.

    Every sample is predicted from those before it, in clips of at most 8 seconds. Knowing nothing costs
    log2 of the codec's levels: 8 bits for 256.

    \b
    slash evaluate run corpus
    slash evaluate bundle corpus --split valid --json scores.json
    slash evaluate bundle corpus --precision int8
    """
    if json_file is not None:
        check_file_output(json_file, force=force, made_by=MADE_BY, argument="json_file")
    check_exists(path, ["run.json", "manifest.json"])
    with optional_packages("evaluate"):
        from slash_train.corpus import Corpus

        opened = Corpus(corpus)
        if not opened.length(split):
            raise UserError(corpus, f"has nothing in its {split} split", "choose another --split")
        from slash_train.devices import limits_explained
        from slash_train.evaluate import mean_bits, score_files
        from slash_train.histograms import MOST_LEVELS, baselines

        scorer, sample_rate = _open(path, checkpoint, device, precision)
    if opened.sample_rate != sample_rate:
        raise UserError(
            corpus,
            f"is at {opened.sample_rate} Hz and {path} at {sample_rate} Hz",
            f"prepare it again with --sample-rate {sample_rate}",
        )
    with stderr().status("scoring"), limits_explained():
        files = score_files(scorer, opened, split)
        countable = scorer.codec.levels <= MOST_LEVELS
        by_histograms = baselines(opened, scorer.codec, split)[0] if countable else None
    mean = mean_bits(files)
    if not math.isfinite(mean):
        raise UserError(
            path, f"gives recordings no probability (it scores {mean} bits/sample)", "train or export anew"
        )
    rows = table(f"{path} on {corpus}, {split}", "recording", "length", "bits/sample")
    for file in files:
        rows.add_row(file.name, duration(file.samples / sample_rate), f"{file.bits:.4f}")
    rows.add_row("all", duration(sum(file.samples for file in files) / sample_rate), f"{mean:.4f}")
    stdout().print(rows)
    if by_histograms is not None:
        stdout().print(
            f"with nothing but how often each code occurs in {corpus}'s training split: {by_histograms.order_0:.3f}; "
            f"after each other code: {by_histograms.order_1:.3f}"
        )
    _say_unlike(files, mean, math.log2(scorer.codec.levels))
    if json_file is not None:
        content = {
            "made_by": MADE_BY,
            "path": str(path),
            "corpus": str(corpus),
            "split": split,
            "bits_per_sample": mean,
            "baselines": None if by_histograms is None else asdict(by_histograms),
            "files": [asdict(file) for file in files],
        }
        write_json(json_file, content, force=force, made_by=MADE_BY, argument="json_file")
    if (path / "manifest.json").exists():
        say_generate(path)
    else:
        say_export(path, checkpoint)


def _say_unlike(files: "Sequence[FileScore]", mean: float, ignorance: float) -> None:
    """Name the recordings that a model, which knows something of the others, knows less than nothing of."""
    for file in files if mean < ignorance else ():
        if file.bits > ignorance:
            stdout().print(
                f"{file.name}: worse than knowing nothing, which scores {ignorance:g}: it is unlike what was learned"
            )


def _open(path: Path, checkpoint: str, device: str, precision: PrecisionName | None) -> tuple["Scorer", int]:
    """Open a run or a bundle for scoring; return its sample rate, too."""
    if (path / "manifest.json").exists():
        from slash_export.scoring import BundleScorer
        from slash_infer.bundle import Bundle
        from slash_infer.sampling.choice import open_engine

        bundle = Bundle(path)
        engine = open_engine(bundle, "cpu", precision or bundle.manifest.variants[0].precision)
        return BundleScorer(bundle, engine), bundle.manifest.sample_rate
    if precision is not None:
        raise UserError(f"--precision {precision}", "is for bundles", "a run is scored as it was trained")
    if not (path / "run.json").exists():
        raise UserError(path, "is not a run or a bundle", "give a folder that slash train or slash export made")
    from slash_train.devices import choose_device
    from slash_train.evaluate import ModelScorer
    from slash_train.run import Run

    run = Run(path)
    trained, audio = run.load_model(checkpoint), run.preset.audio
    return ModelScorer(trained.model.to(choose_device(device)), audio.codec), audio.sample_rate
