"""What it is worth to begin with the weights of another run: a corpus learned from nothing, and from there.

    slash prepare recordings --out corpus --valid 0.2 --test 0.2
    python benchmarks/fine_tuning.py corpus --init-from run --json benchmarks/results/fine_tuning.json

Every training is one by itself, with one thread: its learning rates fall over its own minutes. The table has the best
of ten scorings on the validation split, spread over them: the weights that `slash train` keeps.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from learning import Learned, learn, report, side_by_side, table

from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.origin import Origin

SCORINGS = 10


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    init_from: Annotated[Path, typer.Option(help="A run, or one of its checkpoints.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="Of the trainings from nothing.")] = "live",
    minutes: Annotated[str, typer.Option(help="CPU time of each from the weights, with commas.")] = "2,5,10",
    from_nothing: Annotated[str, typer.Option(help="CPU time of each from nothing.")] = "2,5,10,20",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, with different seeds.")] = 1,
    jobs: Annotated[int, typer.Option(help="Trainings in parallel, one thread each.")] = 2,
) -> None:
    """Train and score with and without the weights."""
    ancestors = [one.model_dump(mode="json") for one in Origin.open(init_from).ancestors]
    longest_first = sorted(
        [
            *[(float(each), preset, corpus, None, seed) for each in from_nothing.split(",") for seed in range(seeds)],
            *[(float(each), preset, corpus, init_from, seed) for each in minutes.split(",") for seed in range(seeds)],
        ],
        key=lambda task: -task[0],
    )
    learned = side_by_side(_learn, longest_first, jobs)
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, preset=preset, ancestors=ancestors))


def _learn(minutes: float, preset: str, corpus: Path, init_from: Path | None, seed: int) -> Learned:
    opened = Corpus(corpus)
    overrides = [f"training.seed={seed}", f"audio.sample_rate={opened.sample_rate}"]
    origin = None if init_from is None else Origin.open(init_from)
    configuration = load_preset(preset, overrides) if origin is None else origin.configuration(None, overrides)
    name = f"{minutes:g} minutes {'from nothing' if origin is None else 'from the weights'}, seed {seed}"
    return learn(
        name,
        configuration,
        opened,
        seconds=60 * minutes,
        clock=time.process_time,
        origin=origin,
        scorings=SCORINGS,
    )


if __name__ == "__main__":
    typer.run(main)
