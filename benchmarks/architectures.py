"""Architectures at equal training time: what each part of SampleRNN is worth, and what others make of it.

    slash prepare solos --out corpus --valid 0.2 --test 0.2
    python benchmarks/architectures.py corpus --json benchmarks/results/architectures.json

The width of each SampleRNN is chosen to give the same number of parameters. All get the same recipe, one thread, and
the same CPU time, which hardly depends on what else runs on the machine. Two WaveNets (benchmarks/wavenet.py) stand
beside them: of about as many parameters, and of about as many products for a generated sample, as the tiers have by
default. Their speeds, and that of adaptive linear predictors (benchmarks/nlms.py), one clip, fp32, one thread, are
measured afterwards, in turns.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from graph_cost import graph_costs, products_a_sample
from learning import Learned, learn, report, side_by_side, table, width_for
from nlms import PRODUCTS, start_nlms
from racing import Contender, medians, race, slash, untrained
from wavenet import Shape, WaveNet, learn_wavenet, start_wavenet

from slash_infer.codec import Codec
from slash_infer.files import write_json
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus

LONGEST_HOP = 16  # samples: every top tier's is a divisor

RECIPE = (
    "model.frame_sizes=[]",
    "model.history=0",
    "training.optimiser=adam",
    "training.augment_semitones=0",
    "training.batch_size=8",
    "training.window=512",
    "training.learning_rate=2e-3",
    "training.warmup_steps=0",
    "training.decay_after=0",
    "training.cooldown=1",
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
WAVENETS = {
    "WaveNet of as many parameters": Shape(channels=48, skips=128),
    "WaveNet of as many products a sample": Shape(channels=20, skips=64),
}
WAVENET_RECIPE = ("training.batch_size=1", "training.window=4096")
"""As many samples between updates, in one window, since each needs a receptive field in front of it."""
NLMS = "adaptive linear predictors (NLMS)"


@dataclass(frozen=True)
class Speed:
    """What it takes to generate with a model."""

    products: float
    """Multiplications of weights for a sample."""
    samples_per_second: list[float]
    """Of every round."""
    realtime: float
    """The median, as a multiple of the corpus's sample rate."""


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    parameters: Annotated[int, typer.Option(help="Of every model, as closely as its width allows.")] = 430_000,
    cpu_seconds: Annotated[float, typer.Option(help="CPU time for training each model.")] = 300.0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change one value of the recipe.")] = None,
    jobs: Annotated[int, typer.Option(help="Models to train in parallel, one thread each.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Of generation, in turns; medians are reported.")] = 5,
    run_seconds: Annotated[float, typer.Option(min=0.001, help="Approximate length of one run.")] = 1.0,
) -> None:
    """Train and score every architecture, and measure how fast each generates."""
    recipe = (*RECIPE, *(overrides or ()))
    tasks = [(name, corpus, recipe, parameters, cpu_seconds) for name in [*WAVENETS, *ARCHITECTURES]]
    learned = side_by_side(_learn, tasks, jobs)
    opened = Corpus(corpus)
    speeds = _speeds(recipe, parameters, opened.sample_rate, rounds, run_seconds)
    print(table(learned))
    for name, speed in speeds.items():
        print(f"{name:60} {speed.products:10,.0f} products a sample {speed.realtime:8.3f} x realtime")
    if json_file is not None:
        content = report(learned, corpus, cpu_seconds=cpu_seconds, recipe=recipe, wavenet_recipe=WAVENET_RECIPE)
        write_json(json_file, content | {"speeds": {name: asdict(speed) for name, speed in speeds.items()}})


def _learn(name: str, corpus: Path, recipe: tuple[str, ...], parameters: int, cpu_seconds: float) -> Learned:
    if name in WAVENETS:
        adapted = load_preset("live", [*recipe, *WAVENET_RECIPE])
        return learn_wavenet(name, WAVENETS[name], adapted, Corpus(corpus), cpu_seconds)
    preset = _preset(name, recipe, parameters)
    return learn(name, preset, Corpus(corpus), seconds=cpu_seconds, clock=time.process_time)


def _preset(name: str, recipe: tuple[str, ...], parameters: int) -> Preset:
    preset_name, shape = ARCHITECTURES[name]
    return width_for(parameters, load_preset(preset_name, [*recipe, *shape]))


def _speeds(
    recipe: tuple[str, ...], parameters: int, sample_rate: int, rounds: int, run_seconds: float
) -> dict[str, Speed]:
    """Return the speed of every architecture, with random weights."""
    torch.set_num_threads(1)
    codec = load_preset("live").audio.codec
    contenders, products = [], {}
    for name, shape in WAVENETS.items():
        contenders.append(Contender(name, partial(_start_wavenet, shape, codec)))
        products[name] = float(shape.products)
    for name in ARCHITECTURES:
        _, bundle = untrained(_preset(name, recipe, parameters), name, ["fp32"])
        contenders.append(slash(name, bundle, Engine(bundle, OnnxCpu(cores=1), "fp32")))
        products[name] = products_a_sample(graph_costs(bundle, "fp32"))
    contenders.append(Contender(NLMS, lambda _: start_nlms(codec)))
    products[NLMS] = float(PRODUCTS)
    rates = race(contenders, 1, LONGEST_HOP, rounds, run_seconds)
    middle = medians(rates)
    return {name: Speed(products[name], rate, middle[name] / sample_rate) for name, rate in rates.items()}


def _start_wavenet(shape: Shape, codec: Codec, _: int) -> Callable[[int], object]:
    torch.manual_seed(0)
    return start_wavenet(WaveNet(shape, codec.levels), codec.silence)


if __name__ == "__main__":
    typer.run(main)
