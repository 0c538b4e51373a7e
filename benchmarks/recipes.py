"""Learning-rate schedules and EMA decays at equal compute: the same model, the same number of steps.

python benchmarks/recipes.py corpus --json benchmarks/results/recipes.json
"""

from pathlib import Path
from typing import Annotated

import typer
from learning import Learned, learn, report, side_by_side, table

from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus

CONSTANT = ("training.schedule=constant",)
COSINE = ("training.schedule=cosine", "training.warmup_steps=100")
RECIPES = {
    "constant, EMA 0.99": (*CONSTANT, "training.ema_decay=0.99"),
    "constant, EMA 0.999": (*CONSTANT, "training.ema_decay=0.999"),
    "constant, EMA 0.9995": (*CONSTANT, "training.ema_decay=0.9995"),
    "constant with warm-up, EMA 0.999": (*CONSTANT, "training.warmup_steps=100", "training.ema_decay=0.999"),
    "constant 1e-3, EMA 0.999": (*CONSTANT, "training.learning_rate=1e-3", "training.ema_decay=0.999"),
    "cosine with warm-up, EMA 0.99": (*COSINE, "training.ema_decay=0.99"),
}


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The model, and the rest of the recipe.")] = "demo",
    steps: Annotated[int, typer.Option(help="Steps of every recipe.")] = 3000,
    jobs: Annotated[int, typer.Option(help="Recipes to train in parallel, one thread each.")] = 2,
) -> None:
    """Train and score with every recipe."""
    learned = side_by_side(_learn, [(name, corpus, preset, steps) for name in RECIPES], jobs)
    print(table(learned))
    if json_file is not None:
        write_json(json_file, report(learned, corpus, preset=preset, steps=steps, recipes=RECIPES))


def _learn(name: str, corpus: Path, preset: str, steps: int) -> Learned:
    configuration = load_preset(preset, [f"training.steps={steps}", *RECIPES[name]])
    return learn(name, configuration, Corpus(corpus), steps=steps)


if __name__ == "__main__":
    typer.run(main)
