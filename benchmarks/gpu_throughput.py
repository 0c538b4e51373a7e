"""Where the time goes when `cluster` generates many clips on a GPU: each stage of a step, and the host's part.

    python benchmarks/gpu_throughput.py --preset live -n 64,256,1024,4096 --json FILE

The model is untrained. Each stage of a step of the top tier is launched many times in a row, in a captured graph, and
timed; so is the whole step, `steps`. `runner` adds uniforms and codes on their way between host and GPU, `sampler`
everything else: x realtime over the batch, medians of --rounds.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from device import describe_device
from racing import untrained

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.cluster_gpu import ClusterGpu
from slash_infer.runtimes.cluster_kernel import put
from slash_infer.runtimes.cluster_runtime import Cluster, ClusterModel
from slash_infer.runtimes.gpu import GpuArray
from slash_infer.runtimes.kernel_weights import KernelWeights
from slash_infer.runtimes.protocol import Launch
from slash_infer.runtimes.throughput_plan import ADVANCE
from slash_infer.runtimes.throughput_plan import stages as stages_of
from slash_infer.runtimes.throughput_runner import ThroughputRunner
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_train.config import load_preset

SAMPLES = 1 << 20  # of all clips, generated at once
REPEATS = 20  # of a stage in a captured graph
FLOOR = 0.002  # of the draws
KINDS = ["gather", "layer", "skip", "rows", "samples"]


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
    model = engine.model
    if not isinstance(model, ClusterModel):
        raise TypeError(type(model))
    weights = model.many.weights
    results = dict[int, Any]()
    for count in map(int, clips.split(",")):
        steps = max(1, SAMPLES // count // hop)
        uniform = Uniforms(0, range(count)).next(steps * hop)
        temperature = np.ones((count, steps), np.float32)
        runner = model.many.runner(engine.initial_state(count))
        sampler = Sampler(bundle, range(count), engine=engine)
        step, stages = _profile(gpu, runner, weights)
        seconds = {"steps": [step * steps], "runner": list[float](), "sampler": list[float]()}
        generates: dict[str, Callable[[], object]] = {
            "runner": partial(runner.generate, uniform, temperature, FLOOR),
            "sampler": partial(sampler.codes, steps * hop),
        }
        for _ in range(rounds + 1):  # the first warms up
            for name, generate in generates.items():
                started = time.perf_counter()
                generate()
                seconds[name].append(time.perf_counter() - started)
        realtime = {
            name: count * steps * hop / rate / statistics.median(taken[-rounds:]) for name, taken in seconds.items()
        }
        results[count] = {"realtime": realtime, "step_microseconds": 1e6 * step, "stages": stages}
        said = ", ".join(f"{name} {value:,.0f} x" for name, value in realtime.items())
        parts = ", ".join(f"{name} {stage['times']} x {stage['microseconds']:.1f}" for name, stage in stages.items())
        print(f"{preset}, {count} clips: {said}", flush=True)
        print(f"  a step of {hop} samples takes {1e6 * step:.0f} us: {parts}", flush=True)
    if json_file is not None:
        content = {
            "machine": asdict(describe_machine()),
            "device": describe_device("cuda"),
            "preset": preset,
            "rounds": rounds,
            "results": results,
        }
        write_json(json_file, content)


def _profile(
    gpu: ClusterGpu, runner: ThroughputRunner[GpuArray], weights: KernelWeights
) -> tuple[float, dict[str, dict[str, float]]]:
    """Return the seconds of a step; and of each stage, how often a step launches it and the microseconds it takes."""
    values = {
        "uniform": np.random.default_rng(0).random((runner.padded_clips, runner.hop), np.float32),
        "temperature": np.ones((runner.padded_clips, 1), np.float32),
        "codes": np.zeros((runner.padded_clips, runner.hop), np.int32),
        "nll": np.zeros((runner.padded_clips, runner.hop), np.float32),
    }
    arrays = {name: put(gpu, value) for name, value in values.items()}
    runner.request(1, arrays, FLOOR)
    launches, found = list[Launch](), dict[str, dict[str, float]]()
    for stage in stages_of(weights, given=False):
        if stage.kind == ADVANCE:
            continue  # the same step, again and again
        launches.append(runner.launch(stage))
        name = f"{KINDS[stage.kind]} {stage.tier + 1}" + (f".{stage.layer}" if stage.layer else "")
        if name not in found:
            found[name] = {"times": 0, "microseconds": 1e6 * _seconds(gpu, launches[-1:])}
        found[name]["times"] += 1
    return _seconds(gpu, launches), found


def _seconds(gpu: ClusterGpu, work: list[Launch]) -> float:
    replay = gpu.capture(work * REPEATS)
    taken = []
    for _ in range(4):  # the first warms up
        gpu.stream.sync()
        started = time.perf_counter()
        replay()
        gpu.stream.sync()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:]) / REPEATS


if __name__ == "__main__":
    typer.run(main)
