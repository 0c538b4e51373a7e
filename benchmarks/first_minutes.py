"""What is learned in the first minutes: `slash train` against a baseline of the same width.

    slash prepare solos --out corpus --valid 0.2 --test 0.2
    python benchmarks/first_minutes.py corpus --out run --minutes 10 --json benchmarks/results/first_minutes.json

Slash's minutes include everything that `slash train` does: validation, previews and saving, too; its best checkpoint
is scored. The baseline (benchmarks/baseline.py) only trains: one GRU per frame tier, embedding 256, weight
normalisation and Adam at 1e-3, as in public implementations, on the same batches. Each has all cores to itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from learning import CPU, Learned, count_parameters, learn, report, score, table

from slash_export.previews import make_previews
from slash_infer.files import write_json
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.model import SampleRNN

BASELINE = (
    *("model.hops=[4,16]", "model.frame_sizes=[]", "model.history=0", "model.cell=gru", "model.embedding=256"),
    *("training.learning_rate=1e-3", "training.batch_size=8", "training.augment_semitones=0"),
)


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    out: Annotated[Path, typer.Option(help="Where to write Slash's run.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="Slash's model and recipe.")] = "live",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change one value of Slash's.")] = None,
    minutes: Annotated[float, typer.Option(help="Wall-clock time for each.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of Slash's weights and of the order of clips.")] = 0,
    with_baseline: Annotated[bool, typer.Option("--baseline/--no-baseline", help="Train the baseline, too.")] = True,
) -> None:
    """Train and score the contenders one after another."""
    opened = Corpus(corpus)
    learned = [_slash(preset, [f"training.seed={seed}", *(overrides or ())], opened, out, minutes)]
    if with_baseline:
        configuration = load_preset(preset, BASELINE)
        name = "baseline, three tiers (4, 16)"
        learned.append(learn(name, configuration, opened, seconds=minutes * 60, baseline=True))
    print(table(learned))
    if json_file is not None:
        write_json(
            json_file,
            report(learned, corpus, preset=preset, overrides=overrides or [], minutes_each=minutes, seed=seed),
        )


def _slash(name: str, overrides: Sequence[str], corpus: Corpus, out: Path, minutes: float) -> Learned:
    preset = load_preset(name, overrides)
    context = loop.TrainContext(CPU, previews=make_previews)
    done = loop.train(corpus, out, name, preset, limits=loop.Limits(minutes=minutes), context=context)
    newest = SampleRNN(preset.model, preset.audio.codec)
    done.run.checkpoints.find("best").load_weights(newest)
    ema = done.run.load_model("best").model if preset.training.ema_decay else None
    return Learned(
        name=f"slash, preset {name}",
        parameters=count_parameters(newest),
        steps=done.step,
        samples_per_second=done.step * preset.training.batch_size * preset.training.window / (minutes * 60),
        bits=score(newest, preset, corpus),
        ema_bits=None if ema is None else score(ema, preset, corpus),
    )


if __name__ == "__main__":
    typer.run(main)
