"""What each part of a recipe is worth: a preset, and the preset without one part, at equal CPU time.

slash prepare solos --out corpus --valid 0.2 --test 0.2
python benchmarks/recipes.py corpus --json benchmarks/results/recipes.json
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from learning import Learned, learn, report, side_by_side, table

from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus

WITHOUT = {
    "": (),
    "frames and history as long as the hops": ("model.frame_sizes=[]", "model.history=0"),
    "Adam for all weights": ("training.optimiser=adam",),
    "products in fp32": ("training.precision=fp32",),
    "constant learning rates": ("training.cooldown=0.0",),
    "a cool-down over the last 0.4": ("training.cooldown=0.4",),
    "clips at their own pitch": ("training.augment_semitones=0",),
    "embeddings of 64": ("model.embedding=64",),
    "16 lanes": ("training.batch_size=16",),
    "clips of 3 s": ("training.clip_seconds=3",),
    "rates that need no end": ("training.cooldown=0.0", "training.decay_after=1000"),
}


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The preset.")] = "live",
    seconds: Annotated[float, typer.Option(help="CPU time of each, in seconds of one thread.")] = 150.0,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, with different seeds.")] = 2,
    jobs: Annotated[int, typer.Option(help="Trainings in parallel, one thread each.")] = 2,
) -> None:
    """Train and score with every recipe and seed."""
    tasks = [(name, corpus, preset, seconds, seed) for name in WITHOUT for seed in range(seeds)]
    learned = side_by_side(_learn, tasks, jobs)
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, preset=preset, cpu_seconds=seconds, recipes=WITHOUT))


def _learn(name: str, corpus: Path, preset: str, seconds: float, seed: int) -> Learned:
    configuration = load_preset(preset, [*WITHOUT[name], f"training.seed={seed}"])
    called = f"{preset}{f', {name}' if name else ''}, seed {seed}"
    return learn(called, configuration, Corpus(corpus), seconds=seconds, clock=time.process_time)


if __name__ == "__main__":
    typer.run(main)
