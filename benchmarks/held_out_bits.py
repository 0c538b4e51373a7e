"""Bits per sample on held-out recordings: a trained model next to two baselines that are easy to reproduce.

    python benchmarks/held_out_bits.py RUN CORPUS --json benchmarks/results/held_out_bits.json

Order 0 is the histogram of the codes in the training split, order 1 that of codes given the one before
(slash_train.histograms).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from learning import HELD_OUT, minutes, score

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.corpus import Corpus
from slash_train.histograms import baselines
from slash_train.run import Run


def main(
    run: Annotated[Path, typer.Argument(help="A run of slash train.")],
    corpus: Annotated[Path, typer.Argument(help="The corpus it was trained on.")],
    json_file: Annotated[Path, typer.Option("--json", help="Where to write the result.")],
    checkpoint: Annotated[str, typer.Option(help="best, last or a path.")] = "best",
) -> None:
    """Score a run and the two baselines on the validation and test splits."""
    opened, opened_run = Corpus(corpus), Run(run)
    trained = opened_run.load_model(checkpoint)
    by_histograms = dict(zip(HELD_OUT, baselines(opened, trained.preset.audio.codec, *HELD_OUT), strict=True))
    scores: dict[str, dict[str, float]] = {
        "order 0": {split: each.order_0 for split, each in by_histograms.items()},
        "order 1": {split: each.order_1 for split, each in by_histograms.items()},
    }
    scores["model"] = score(trained.model, trained.preset, opened)
    state = opened_run.checkpoints.find(checkpoint).trainer_state()
    write_json(
        json_file,
        {
            "machine": asdict(describe_machine()),
            "minutes": minutes(opened),
            "preset": trained.preset_name,
            "checkpoint": checkpoint,
            "step": state.step,
            "training_minutes": state.seconds / 60,
            "bits_per_sample": scores,
        },
    )
    print(f"{'':12}" + "".join(f"{split:>9}" for split in HELD_OUT))
    for name, by_split in scores.items():
        print(f"{name:12}" + "".join(f"{by_split[split]:9.3f}" for split in HELD_OUT))


if __name__ == "__main__":
    typer.run(main)
