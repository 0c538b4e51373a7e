"""What is learnt in the first minutes: `slash train` against baseline code of the same width.

    slash prepare solos --out corpus --valid 0.2 --test 0.2
    python benchmarks/first_minutes.py corpus --out run --minutes 10 --json benchmarks/results/first_minutes.json

Slash's minutes hold all that `slash train` does, scoring, clips and saving, too; its best checkpoint is scored.
Baseline code (benchmarks/baseline.py) only trains: one GRU per frame tier, embedding 256, weight norm
and Adam at 1e-3, as public implementations have them, on the same batches. Each has all cores to itself.
"""

from pathlib import Path
from typing import Annotated

import typer
from learning import CPU, Learned, count_parameters, learn, report, score, table

from slash_export.previews import listen
from slash_infer.files import write_json
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.model import SampleRNN

BASELINE = (
    *("model.frame_sizes=[4,16]", "model.cell=gru", "model.rnn_layers=1", "model.embedding=256"),
    "training.learning_rate=1e-3",
)


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    out: Annotated[Path, typer.Option(help="Where Slash's run goes.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the result goes.")] = None,
    preset: Annotated[str, typer.Option(help="Slash's model and recipe.")] = "live",
    minutes: Annotated[float, typer.Option(help="Of the clock on the wall, for each.")] = 10.0,
) -> None:
    """Train and score the contenders one after another."""
    opened = Corpus(corpus)
    learned = [
        _slash(preset, opened, out, minutes),
        learn(
            "baseline, three tiers (4, 16)",
            load_preset(preset, BASELINE),
            opened,
            seconds=minutes * 60,
            baseline=True,
        ),
    ]
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, preset=preset, minutes_each=minutes))


def _slash(name: str, corpus: Corpus, out: Path, minutes: float) -> Learned:
    preset = load_preset(name)
    context = loop.TrainContext(CPU, listen=listen)
    done = loop.train(corpus, out, name, preset, limits=loop.Limits(minutes=minutes), context=context)
    averaged, checkpoint = done.run.load_model("best")
    newest = SampleRNN(preset.model, preset.audio.codec.levels)
    checkpoint.load_weights(newest)
    return Learned(
        name=f"slash, preset {name}",
        parameters=count_parameters(newest),
        steps=done.step,
        samples_per_second=done.step * preset.training.batch_size * preset.training.window / (minutes * 60),
        bits=score(newest, preset, corpus),
        averaged_bits=score(averaged, preset, corpus) if preset.training.ema_decay else None,
    )


if __name__ == "__main__":
    typer.run(main)
