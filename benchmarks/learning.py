"""Shared by the benchmarks of learning: train a contender for a while, then score it on the held-out splits."""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from baseline import BaselineTrainer
from torch import nn

from slash_infer.machine import describe_machine
from slash_train.choices import Split
from slash_train.config import Preset
from slash_train.corpus import SPLITS, Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.loader import Loader
from slash_train.model import SampleRNN
from slash_train.origin import Origin
from slash_train.streams import TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

HELD_OUT: tuple[Split, ...] = ("valid", "test")
CPU = torch.device("cpu")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Learned:
    """The result of training one contender."""

    name: str
    parameters: int
    steps: int
    samples_per_second: float
    """Of the clock that limited the training, without scoring."""
    bits: dict[str, float]
    """Bits per sample of the newest weights on each held-out split."""
    ema_bits: dict[str, float] | None
    """The same of the EMA of the weights, if there is one."""
    best_step: int | None = None
    """The step whose EMA was the best of those scored on the validation split, where several were."""
    best_bits: dict[str, float] | None = None
    """Bits per sample of that EMA on each held-out split."""


def learn(
    name: str,
    preset: Preset,
    corpus: Corpus,
    *,
    steps: float = float("inf"),
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
    baseline: bool = False,
    origin: Origin | None = None,
    scorer: type[ModelScorer] = ModelScorer,
    scorings: int = 0,
) -> Learned:
    """Train until `steps` steps are done or `seconds` of `clock` are over, then score the held-out splits in full.

    With `scorings`, the EMA is scored so many times in between, evenly spread, and the best on the validation split
    is reported, too: the weights that `slash train` would have kept. The clock stands still meanwhile.
    """
    recipe, codec = preset.training, preset.audio.codec
    trainer: Trainer | BaselineTrainer
    if baseline:
        trainer = BaselineTrainer(preset.model, codec.levels, recipe.batch_size, recipe.learning_rate, CPU)
    else:
        trainer = Trainer(preset, CPU, Workers(), origin)
    scored: list[tuple[int, dict[str, float]]] = []
    started, stood = clock(), 0.0
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        while (done := max(trainer.step / steps, (clock() - started - stood) / seconds)) < 1:
            if isinstance(trainer, Trainer):
                trainer.advance(loader.next(), done)
                trainer.require_finite()
                if trainer.ema is not None and done * scorings >= len(scored) + 1:
                    stopped = clock()
                    scored.append((trainer.step, score(trainer.ema.model, preset, corpus, scorer)))
                    stood += clock() - stopped
            else:
                trainer.advance(loader.next())
    took = clock() - started - stood
    ema = trainer.ema.model if isinstance(trainer, Trainer) and trainer.ema is not None else None
    ema_bits = None if ema is None else score(ema, preset, corpus, scorer)
    if scorings and ema_bits is not None:
        scored.append((trainer.step, ema_bits))
    best_step, best_bits = min(scored, key=lambda each: each[1]["valid"], default=(None, None))
    return Learned(
        name=name,
        parameters=count_parameters(trainer.model),
        steps=trainer.step,
        samples_per_second=trainer.step * recipe.batch_size * recipe.window / took,
        bits=score(trainer.model, preset, corpus, scorer),
        ema_bits=ema_bits,
        best_step=best_step,
        best_bits=best_bits,
    )


def score(model: Any, preset: Preset, corpus: Corpus, scorer: type[ModelScorer] = ModelScorer) -> dict[str, float]:
    """Return a model's bits per sample on every held-out split."""
    opened = scorer(model, preset.audio.codec)
    return {split: bits_per_sample(opened, corpus, split) for split in HELD_OUT}


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def minutes(corpus: Corpus) -> dict[str, float]:
    """Return the length of every split in minutes."""
    return {split: corpus.length(split) / corpus.sample_rate / 60 for split in SPLITS}


def side_by_side(work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], jobs: int) -> list[Result]:
    """Call `work(*task)` for every task, `jobs` in parallel, each in its own process with one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(work, *task) for task in tasks]]


def width_for(parameters: int, preset: Preset) -> Preset:
    """Return `preset` with the width, a multiple of 8, that comes closest to a number of parameters."""

    def count(width: int) -> int:
        with torch.device("meta"):
            model = SampleRNN(preset.model.model_copy(update={"width": width}), preset.audio.codec)
        return count_parameters(model)

    widths = range(8, 2049, 8)
    above = bisect_left(widths, parameters, key=count)
    width = min(widths[max(0, above - 1) : above + 1], key=lambda width: abs(count(width) - parameters))
    return preset.model_copy(update={"model": preset.model.model_copy(update={"width": width})})


def table(learned: Sequence[Learned]) -> str:
    """Return the results as a Markdown table, with the scores of the EMA where there is one, of the best if known."""
    lines = [
        "| model | parameters | training samples/s | steps | validation | test | newest weights |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in learned:
        bits = one.best_bits or one.ema_bits or one.bits
        newest = " / ".join(f"{one.bits[split]:.3f}" for split in HELD_OUT) if one.ema_bits else "the same"
        lines.append(
            f"| {one.name} | {one.parameters:,} | {one.samples_per_second:,.0f} | {one.steps:,} "
            f"| {bits['valid']:.3f} | {bits['test']:.3f} | {newest} |"
        )
    return "\n".join(lines)


def report(learned: Sequence[Learned], corpus: Path, **settings: Any) -> dict[str, Any]:
    """Return the JSON content of a result."""
    return {
        "machine": asdict(describe_machine()),
        "minutes": minutes(Corpus(corpus)),
        **settings,
        "results": [asdict(one) for one in learned],
    }
