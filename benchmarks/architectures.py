"""Architectures at equal parameters and equal CPU time: what each part of SampleRNN is worth.

    slash prepare solos --out corpus --valid 0.2 --test 0.2
    python benchmarks/architectures.py corpus --json benchmarks/results/architectures.json

The width of each model is chosen to give the same number of parameters. All get the same recipe, one thread, and the
same CPU time, which hardly depends on what else runs on the machine.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from learning import Learned, learn, report, side_by_side, table, width_for

from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus

RECIPE = (
    "model.frame_sizes=[]",
    "model.history=0",
    "training.optimiser=adam",
    "training.augment_semitones=0",
    "training.batch_size=8",
    "training.window=512",
    "training.learning_rate=2e-3",
    "training.ema_decay=0.999",
    "model.rnn_layers=1",
    "model.embedding=32",
)
ARCHITECTURES = {
    "window-rnn: overlapping windows of 16, one sample a step": ("window-rnn", ("model.frame_sizes=[16]",)),
    "frame-rnn: 16 samples a step, no local context": ("frame-rnn", ()),
    "two tiers: 16": ("live", ("model.hops=[16]",)),
    "three tiers: 2, 8 (the paper's clock rates)": ("live", ("model.hops=[2,8]",)),
    "three tiers: 4, 16": ("live", ("model.hops=[4,16]",)),
}


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    parameters: Annotated[int, typer.Option(help="Of every model, as closely as its width allows.")] = 430_000,
    cpu_seconds: Annotated[float, typer.Option(help="CPU time for training each model.")] = 300.0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change one value of the recipe.")] = None,
    jobs: Annotated[int, typer.Option(help="Models to train in parallel, one thread each.")] = 2,
) -> None:
    """Train and score every architecture."""
    recipe = (*RECIPE, *(overrides or ()))
    tasks = [(name, corpus, recipe, parameters, cpu_seconds) for name in ARCHITECTURES]
    learned = side_by_side(_learn, tasks, jobs)
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, cpu_seconds=cpu_seconds, recipe=recipe))


def _learn(name: str, corpus: Path, recipe: tuple[str, ...], parameters: int, cpu_seconds: float) -> Learned:
    preset_name, shape = ARCHITECTURES[name]
    preset = width_for(parameters, load_preset(preset_name, [*recipe, *shape]))
    return learn(name, preset, Corpus(corpus), seconds=cpu_seconds, clock=time.process_time)


if __name__ == "__main__":
    typer.run(main)
