"""Shared by the benchmarks of generation: contenders that generate in turns, so that noise affects all alike."""

import gc
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import PRECISIONS, Bundle
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train.config import Preset
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel


@dataclass(frozen=True)
class Contender:
    """A way to generate."""

    name: str
    start: Callable[[int], Callable[[int], object]]
    """Takes the number of clips; returns a function that generates a number of samples of each."""
    settling: float = 0.0
    """Seconds to wait after each run."""


def untrained(configuration: Preset, name: str) -> tuple[SampleRNN, Bundle]:
    """Return a model with its first weights, and its bundle."""
    torch.manual_seed(0)
    model = SampleRNN(configuration.model, configuration.audio.codec).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_unchecked(Path(folder), TrainedModel(model, configuration, name, step=0, valid_bits=None), PRECISIONS)
        return model, Bundle(Path(folder))


def slash(name: str, bundle: Bundle, engine: Engine) -> Contender:
    """Return Slash's sampler as a contender."""
    # One clip runs as a live stream does, without a padding row.
    return Contender(
        name, lambda clips: Sampler(bundle, range(clips), engine=engine, batch_invariant=clips > 1).codes
    )


def race(
    contenders: Sequence[Contender], clips: int, hop: int, rounds: int, run_seconds: float
) -> dict[str, list[float]]:
    """Return the samples/s, summed over the batch, of every round of every contender."""
    running = {one.name: one.start(clips) for one in contenders}
    settling = {one.name: one.settling for one in contenders}
    lengths = {name: _enough(generate, hop, run_seconds) for name, generate in running.items()}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, generate in running.items():
            started = time.perf_counter()
            generate(lengths[name])
            rates[name].append(lengths[name] * clips / (time.perf_counter() - started))
            time.sleep(settling[name])
    del running
    gc.collect()  # frees GPU memory for the next batch size
    return rates


def _enough(generate: Callable[[int], object], hop: int, run_seconds: float) -> int:
    """Return how many samples, a multiple of `hop`, take about `run_seconds`. This also warms up."""
    samples = hop
    while True:
        started = time.perf_counter()
        generate(samples)
        took = time.perf_counter() - started
        if took >= run_seconds / 4:
            return max(1, math.ceil(samples / hop * run_seconds / took)) * hop
        samples *= 2
