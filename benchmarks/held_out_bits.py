"""Bits per sample on held-out recordings: a trained model next to two baselines that are easy to reproduce.

    python benchmarks/held_out_bits.py RUN CORPUS --json benchmarks/results/held_out_bits.json

Order 0 is the histogram of the codes in the training split. Order 1 is the histogram of codes given the previous
code. Both are smoothed by adding a constant to every count. The constant is chosen by the score on the validation
split, which favours the baselines.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from learning import HELD_OUT, minutes, score

from slash_infer.codec import Codec
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.choices import Split
from slash_train.corpus import Corpus
from slash_train.run import Run

SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01)


def main(
    run: Annotated[Path, typer.Argument(help="A run of slash train.")],
    corpus: Annotated[Path, typer.Argument(help="The corpus it was trained on.")],
    json_file: Annotated[Path, typer.Option("--json", help="Where to write the result.")],
    checkpoint: Annotated[str, typer.Option(help="best, last or a path.")] = "best",
) -> None:
    """Score a run and the two baselines on the validation and test splits."""
    opened, opened_run = Corpus(corpus), Run(run)
    trained = opened_run.load_model(checkpoint)
    scores = baselines(opened, trained.preset.audio.codec)
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


def baselines(corpus: Corpus, codec: Codec) -> dict[str, dict[str, float]]:
    """Return the bits per sample of the order-0 and order-1 histograms on every held-out split."""
    singles = np.zeros(codec.levels)
    pairs = np.zeros(codec.levels * codec.levels)
    for codes in _recordings(corpus, codec, "train"):
        singles += np.bincount(codes, minlength=codec.levels)
        pairs += np.bincount(codes[:-1] * codec.levels + codes[1:], minlength=len(pairs))
    order_0 = [_order_0(singles, constant) for constant in SMOOTHING]
    order_1 = [_order_1(pairs.reshape(codec.levels, -1), constant) for constant in SMOOTHING]

    def score_0(costs: npt.NDArray[np.float64], split: Split) -> float:
        return float(np.concatenate([costs[codes] for codes in _recordings(corpus, codec, split)]).mean())

    def score_1(costs: npt.NDArray[np.float64], split: Split) -> float:
        return float(
            np.concatenate([costs[codes[:-1], codes[1:]] for codes in _recordings(corpus, codec, split)]).mean()
        )

    best_0 = min(order_0, key=lambda costs: score_0(costs, "valid"))
    best_1 = min(order_1, key=lambda costs: score_1(costs, "valid"))
    return {
        "order 0": {split: score_0(best_0, split) for split in HELD_OUT},
        "order 1": {split: score_1(best_1, split) for split in HELD_OUT},
    }


def _order_0(counts: npt.NDArray[np.float64], constant: float) -> npt.NDArray[np.float64]:
    """Return the cost of each code in bits, [Q]."""
    smoothed = counts + constant
    return np.asarray(-np.log2(smoothed / smoothed.sum()))


def _order_1(counts: npt.NDArray[np.float64], constant: float) -> npt.NDArray[np.float64]:
    """Return the cost in bits of each code given the previous one, [previous, code]."""
    smoothed = counts + constant
    return np.asarray(-np.log2(smoothed / smoothed.sum(axis=1, keepdims=True)))


def _recordings(corpus: Corpus, codec: Codec, split: Split) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the codes of each region of a split."""
    for region in corpus.regions(split):
        yield codec.encode_pcm16(np.asarray(corpus.pcm[region.start : region.start + region.length]))


if __name__ == "__main__":
    typer.run(main)
