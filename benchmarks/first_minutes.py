"""What is learnt in the first minutes: preset `live` against straightforward code of the same width.

    python benchmarks/first_minutes.py corpus --minutes 10 --json benchmarks/results/first_minutes.json

Straightforward code (benchmarks/straightforward.py) gets one GRU per frame tier, weight norm and Adam at 1e-3, as
public implementations do, and its better batch of two. Each trains alone on all cores, by the clock on the wall.
"""

from pathlib import Path
from typing import Annotated

import typer
from learning import learn, report, table

from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus

PUBLIC = ("model.cell=gru", "model.rnn_layers=1", "model.embedding=256", "training.learning_rate=1e-3")
STRAIGHTFORWARD = {
    "straightforward, two tiers (16)": (*PUBLIC, "model.frame_sizes=[16]"),
    "straightforward, three tiers (4, 16)": (*PUBLIC, "model.frame_sizes=[4,16]"),
}


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the result goes.")] = None,
    preset: Annotated[str, typer.Option(help="Slash's model and recipe.")] = "live",
    minutes: Annotated[float, typer.Option(help="Of the clock on the wall, for each.")] = 10.0,
) -> None:
    """Train and score the contenders one after another."""
    opened, seconds = Corpus(corpus), minutes * 60
    learned = [learn(f"slash, preset {preset}", load_preset(preset), opened, seconds=seconds)]
    for name, changes in STRAIGHTFORWARD.items():
        configuration = load_preset(preset, changes)
        learned.append(learn(name, configuration, opened, seconds=seconds, straightforward=True))
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, preset=preset, minutes_each=minutes))


if __name__ == "__main__":
    typer.run(main)
