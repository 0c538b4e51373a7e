"""Shared by the benchmarks of generation: contenders that generate in turns, so that noise affects all alike."""

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import PRECISIONS, Bundle, Precision
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


def untrained(
    configuration: Preset, name: str, precisions: Sequence[Precision] = PRECISIONS
) -> tuple[SampleRNN, Bundle]:
    """Return a model with its first weights, and its bundle."""
    torch.manual_seed(0)
    model = SampleRNN(configuration.model, configuration.audio.codec).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_unchecked(Path(folder), TrainedModel(model, configuration, name, step=0, valid_bits=None), precisions)
        return model, Bundle(Path(folder))


def slash(name: str, bundle: Bundle, engine: Engine) -> Contender:
    """Return Slash's sampler as a contender."""
    # One clip runs as a live stream does, without a padding row.
    return Contender(
        name, lambda clips: Sampler(bundle, range(clips), engine=engine, batch_invariant=clips > 1).codes
    )


def drawing(
    cumulative: npt.NDArray[np.floating], advance: Callable[[int], npt.NDArray[np.floating]]
) -> Callable[[int], object]:
    """Return a function that draws a number of further codes of one clip.

    Args:
        cumulative: the cumulated probabilities of the first code, [Q].
        advance: takes a code, and returns those of the next one.
    """
    rng = np.random.default_rng(0)

    def generate(samples: int) -> object:
        nonlocal cumulative
        codes = np.empty(samples, np.int64)
        for t in range(samples):
            drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], "right")
            codes[t] = min(int(drawn), len(cumulative) - 1)
            cumulative = advance(int(codes[t]))
        return codes

    return generate


def one_thread_session(graph: onnx.ModelProto) -> ort.InferenceSession:
    """Return a graph opened on the CPU, to run in one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])


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


def medians(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of every contender's rounds."""
    return {name: statistics.median(rate) for name, rate in rates.items()}
