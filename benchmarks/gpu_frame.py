"""What one step of the top tier costs on a GPU, by CUDA events, beside the time its weights take to be read once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cuda.core import EventOptions

from slash_infer.bundle import Bundle
from slash_infer.runtimes.gpu import GpuGraphs
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.sampling.engine import Engine

STEPS = 500
COPIED = 2**30  # bytes copied to measure the bandwidth: far more than any cache
COPIES = 20


@dataclass(frozen=True)
class FrameCost:
    """One step of the top tier for one clip."""

    microseconds: float
    weight_bytes: int
    """Of all graphs, without the sample tier's table, of which few rows are read."""
    bandwidth: float
    """Bytes per second of a copy within the GPU's memory, read and written counted both."""
    floor_microseconds: float
    """Reading the weights once at that bandwidth, though lower tiers read theirs several times."""


def frame_cost(bundle: Bundle, engine: Engine, model: GraphModel) -> FrameCost:
    """Time the steps of one clip between two events on the stream they run on.

    Args:
        bundle: what the engine runs.
        engine: on a GPU.
        model: the engine's.
    """
    gpu = model.runtime
    assert isinstance(gpu, GpuGraphs)  # noqa: S101
    runner = model.runner(engine.initial_state(1))
    uniform = np.random.default_rng(0).random((1, bundle.manifest.top_hop), np.float32)
    runner.generate(uniform, np.ones((1, 1), np.float32), 0.0)

    def steps() -> None:
        for _ in range(STEPS):
            runner.step()  # without the copies in and out

    seconds = _timed(gpu, steps) / STEPS
    bandwidth = _bandwidth(gpu)
    shape = bundle.manifest
    table = shape.sample_tier.history * shape.codec.levels * shape.width * (2 if engine.precision == "fp16" else 4)
    weight_bytes = sum(graph.bytes for graph in bundle.variant(engine.precision).files()) - table
    return FrameCost(seconds * 1e6, weight_bytes, bandwidth, weight_bytes / bandwidth * 1e6)


def _bandwidth(gpu: GpuGraphs) -> float:
    source, to = (gpu.array([COPIED // 4], np.float32) for _ in range(2))

    def copy() -> None:
        for _ in range(COPIES):
            gpu.copy_row(gpu.part(to, 0, [1, COPIED // 4]), 0, gpu.part(source, 0, [1, COPIED // 4]), 0)

    copy()
    return 2 * COPIED * COPIES / _timed(gpu, copy)


def _timed(gpu: GpuGraphs, work: Callable[[], object]) -> float:
    """Return the seconds that work takes on the GPU's stream."""
    timing = EventOptions(timing_enabled=True)
    gpu.stream.sync()
    begun = gpu.stream.record(options=timing)
    work()
    ended = gpu.stream.record(options=timing)
    ended.sync()
    return float(ended - begun) / 1e3
