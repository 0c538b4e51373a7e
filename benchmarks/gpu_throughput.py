"""Where the time goes when `cluster` generates many clips on a GPU: each stage of a step, and the host's part.

    python benchmarks/gpu_throughput.py --preset live -n 64,256,1024,4096 --json FILE

The model is untrained. Each stage of a step of the top tier is launched many times in a row, in a captured graph, and
timed. `steps` is the whole step, captured as the sampler captures it; `runner` adds uniforms on their way to the GPU
and codes on their way back, and `sampler` all else: x realtime over the batch, medians of --rounds.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from device import describe_device
from racing import untrained
from typing_extensions import override

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes import throughput_plan
from slash_infer.runtimes.cluster_gpu import ClusterGpu
from slash_infer.runtimes.cluster_runtime import Cluster, ClusterModel
from slash_infer.runtimes.gpu import GpuArray
from slash_infer.runtimes.protocol import Launch
from slash_infer.runtimes.throughput_runner import ThroughputRunner
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_train.config import load_preset

SAMPLES = 1 << 20  # of all clips, generated at once
REPEATS = 20  # of a stage in a captured graph
KINDS = ["gather", "layer", "skip", "rows", "samples", "advance"]


def main(
    preset: Annotated[str, typer.Option(help="The model.")] = "live",
    clips: Annotated[str, typer.Option("-n", help="Batch sizes, with commas.")] = "64,256,1024,4096",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
) -> None:
    """Time each stage of a step, whole steps, and the sampler."""
    configuration = load_preset(preset)
    bundle = untrained(configuration, preset, ("fp32", "fp16"))[1]
    rate, hop = bundle.manifest.sample_rate, bundle.manifest.top_hop
    gpu = ClusterGpu()
    engine = Engine(bundle, Cluster(gpu), "fp16")
    results = dict[int, Any]()
    for count in map(int, clips.split(",")):
        steps = max(1, SAMPLES // count // hop)
        uniform = Uniforms(0, range(count)).next(steps * hop)
        temperature = np.ones((count, steps), np.float32)
        runner = _many(engine, count)
        sampler = Sampler(bundle, range(count), engine=engine)
        stages, seconds = _stages(gpu, runner), defaultdict[str, list[float]](list)
        for _ in range(rounds + 1):
            started = time.perf_counter()
            runner.generate(uniform, temperature, 0.002)
            seconds["runner"].append(time.perf_counter() - started)
            seconds["steps"].append(runner.seconds)
            started = time.perf_counter()
            sampler.codes(steps * hop)
            seconds["sampler"].append(time.perf_counter() - started)
        realtime = {
            name: count * steps * hop / rate / statistics.median(taken[1:]) for name, taken in seconds.items()
        }
        step = 1e6 * statistics.median(seconds["steps"][1:]) / steps
        results[count] = {"realtime": realtime, "step_microseconds": step, "stage_microseconds": stages}
        said = ", ".join(f"{name} {value:,.0f} x" for name, value in realtime.items())
        parts = ", ".join(f"{name} {times} x {each:.1f}" for name, (times, each) in stages.items())
        print(f"{preset}, {count} clips: {said}; a step of {hop} samples takes {step:.0f} us: {parts}", flush=True)
    if json_file is not None:
        content = {
            "machine": asdict(describe_machine()),
            "device": describe_device("cuda"),
            "preset": preset,
            "rounds": rounds,
            "results": results,
        }
        write_json(json_file, content)


class _Timed(ThroughputRunner[GpuArray]):
    """Times its steps by themselves."""

    gpu: ClusterGpu
    seconds: float

    @override
    def _run(self, steps: int, arrays: Mapping[str, GpuArray], *, given: bool, floor: float = 0.0) -> None:
        self.gpu.stream.sync()
        started = time.perf_counter()
        super()._run(steps, arrays, given=given, floor=floor)
        self.gpu.stream.sync()
        self.seconds = time.perf_counter() - started


def _many(engine: Engine, clips: int) -> _Timed:
    """Return a runner of the kernels for many clips, for however few."""
    assert isinstance(engine.model, ClusterModel)
    runner = engine.model._many.runner(engine.initial_state(clips))
    runner.__class__ = _Timed
    assert isinstance(runner, _Timed)
    assert isinstance(engine.runtime, Cluster)
    runner.gpu = engine.runtime._device
    return runner


def _stages(gpu: ClusterGpu, runner: _Timed) -> dict[str, tuple[int, float]]:
    """Return how often a step launches each stage, and the microseconds that one takes."""
    weights = runner._weights
    rows, samples = runner._rows, runner.hop
    arrays = {name: gpu.array([rows, samples], np.float32) for name in ("uniform", "codes", "nll")}
    gpu.put(arrays["uniform"], np.random.default_rng(0).random((rows, samples), np.float32))
    arrays["temperature"] = gpu.array([rows, 1], np.float32)
    gpu.put(arrays["temperature"], np.ones((rows, 1), np.float32))
    runner.request(1, arrays, 0.002)
    found = dict[str, tuple[int, float]]()
    for stage in throughput_plan.stages(weights, given=False):
        if stage.kind == throughput_plan.ADVANCE:
            continue
        name = f"{KINDS[stage.kind]} {stage.tier + 1}" + (f".{stage.layer}" if stage.layer else "")
        if name in found:
            found[name] = found[name][0] + 1, found[name][1]
            continue
        found[name] = 1, _microseconds(gpu, runner.launch(stage))
    return found


def _microseconds(gpu: ClusterGpu, launch: Launch) -> float:
    many = gpu.capture([launch] * REPEATS)
    taken = []
    for _ in range(4):
        gpu.stream.sync()
        started = time.perf_counter()
        many()
        gpu.stream.sync()
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken[1:]) / REPEATS


if __name__ == "__main__":
    typer.run(main)
