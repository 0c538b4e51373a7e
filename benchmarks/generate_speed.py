"""Generation speed: every available engine and precision against an eager PyTorch loop, interleaved.

    python benchmarks/generate_speed.py --preset slash -n 1,8,32 --json benchmarks/results/generate_speed_slash.json
    python benchmarks/generate_speed.py --preset slash -n 1,8,32,256,1024 --device cuda --json ...

The model is untrained: speed does not depend on what it has learned. `eager` is benchmarks/eager_generation.py, one
call per sample, on one thread and on all. In every round, each contender runs for about --run-seconds. Rounds are
interleaved and medians reported: noise of the machine then affects all contenders alike. With --device cuda, eager
and every engine run on the GPU, and the cost of one frame is compared with reading the weights once.
"""

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from device import describe_device
from eager_generation import EagerGeneration

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import PRECISIONS, Bundle
from slash_infer.errors import UserError
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import find_runtimes
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train.config import Preset, load_preset
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

BASELINE = "eager"
SETTLING_SECONDS = 0.3  # after PyTorch's loop, whose threads keep spinning for a while


@dataclass(frozen=True)
class Contender:
    """A way to generate."""

    name: str
    start: Callable[[int], Callable[[int], object]]
    """Takes the number of clips; returns a function that generates a number of samples of each."""
    settling: float = 0.0
    """Seconds to wait after each run."""


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The model.")] = "slash",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change one value of the preset.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="On the CPU, race the preset with this value, too; may be repeated.")
    ] = None,
    clips: Annotated[str, typer.Option("-n", help="Batch sizes, with commas.")] = "1,8,32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 5,
    run_seconds: Annotated[float, typer.Option(min=0.001, help="Approximate length of one run.")] = 1.0,
) -> None:
    """Measure samples/s of generation."""
    configuration = load_preset(preset, overrides or ())
    batches = [int(part) for part in clips.split(",")]
    model, bundle = _untrained(configuration, preset)
    if device == "cuda":
        contenders, costs = _on_gpu(bundle, model, configuration)
    else:
        contenders, costs = _on_cpu(bundle, model, configuration), {}
        if against:
            other = _untrained(load_preset(preset, [*(overrides or ()), *against]), preset)[1]
            contenders += [
                _slash(f"cpu {precision}, {', '.join(against)}", other, Engine(other, OnnxCpu(), precision))
                for precision in ("fp32", "int8")
            ]
    sample_rate = configuration.audio.sample_rate
    results = {}
    for batch in batches:
        rates = _race(contenders, batch, bundle.manifest.top_hop, rounds, run_seconds)
        results[batch] = {name: statistics.median(rate) for name, rate in rates.items()}
        _print(batch, rates, sample_rate)
    for name, cost in costs.items():
        print(
            f"{name}: {cost['microseconds']:.1f} us a frame; reading its {cost['weight_bytes'] / 1e6:.1f} MB of "
            f"weights once at {cost['bandwidth'] / 1e12:.2f} TB/s takes {cost['floor_microseconds']:.1f} us"
        )
    if json_file is not None:
        content: dict[str, Any] = {
            "machine": asdict(describe_machine()),
            "device": describe_device(device),
            "preset": preset,
            "against": against or [],
            "model": configuration.model.model_dump(mode="json"),
            "sample_rate": sample_rate,
            "rounds": rounds,
            "samples_per_second": results,
            "frame_costs": costs,
        }
        write_json(json_file, content)


def _untrained(configuration: Preset, name: str) -> tuple[SampleRNN, Bundle]:
    """Return a model with its first weights, and its bundle."""
    torch.manual_seed(0)
    model = SampleRNN(configuration.model, configuration.audio.codec).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_unchecked(Path(folder), TrainedModel(model, configuration, name, step=0, valid_bits=None), PRECISIONS)
        return model, Bundle(Path(folder))


def _on_cpu(bundle: Bundle, model: SampleRNN, preset: Preset) -> list[Contender]:
    threads = torch.get_num_threads()
    silence = preset.audio.codec.silence
    contenders = [_eager(f"{BASELINE}, 1 thread", model, silence, 1)]
    if threads > 1:
        contenders.append(_eager(f"{BASELINE}, {threads} threads", model, silence, threads))
    for precision in ("fp32", "int8"):
        engine = Engine(bundle, OnnxCpu(cores=1), precision)
        contenders.append(_slash(f"cpu {precision}, 1 thread", bundle, engine))
        if threads > 1:
            engine = Engine(bundle, OnnxCpu(), precision)
            contenders.append(_slash(f"cpu {precision}, as slash runs it", bundle, engine))
    return contenders


def _on_gpu(bundle: Bundle, model: SampleRNN, preset: Preset) -> tuple[list[Contender], dict[str, dict[str, Any]]]:
    """Return the contenders on the GPU, and the cost of a frame for each of Slash's that runs graphs."""
    from gpu_frame import frame_cost

    contenders = [_eager(BASELINE, model.cuda(), preset.audio.codec.silence, torch.get_num_threads())]
    costs = {}
    for name, runtime in find_runtimes():
        if isinstance(runtime, Unavailable):
            print(f"without {name}: {runtime}")
            continue
        for precision in runtime.precisions if name != "cpu" else ():
            try:
                engine = Engine(bundle, runtime, precision)
            except UserError as reason:
                print(f"without {name} {precision}: {reason}")
                continue
            contenders.append(_slash(f"{name} {precision}", bundle, engine))
            if isinstance(engine.model, GraphModel):
                costs[f"{name} {precision}"] = asdict(frame_cost(bundle, engine, engine.model))
    return contenders, costs


def _eager(name: str, model: SampleRNN, silence: int, threads: int) -> Contender:
    def start(clips: int) -> Callable[[int], object]:
        loop = EagerGeneration(model, clips, silence)

        def generate(samples: int) -> object:
            torch.set_num_threads(threads)
            return loop.generate(samples).cpu()

        return generate

    return Contender(name, start, SETTLING_SECONDS)


def _slash(name: str, bundle: Bundle, engine: Engine) -> Contender:
    # One clip runs as a live stream does, without a padding row.
    return Contender(
        name, lambda clips: Sampler(bundle, range(clips), engine=engine, batch_invariant=clips > 1).codes
    )


def _race(
    contenders: list[Contender], clips: int, hop: int, rounds: int, run_seconds: float
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


def _print(batch: int, rates: dict[str, list[float]], sample_rate: int) -> None:
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    baselines = [name for name in medians if name.startswith(BASELINE)]
    print(f"\n{batch} clip{'s' if batch > 1 else ''}")
    for name, rate in medians.items():
        against = ", ".join(f"{rate / medians[base]:6.2f} x {base}" for base in baselines)
        spread = f"{min(rates[name]):,.0f}-{max(rates[name]):,.0f}"
        print(f"{name:28}{rate:12,.0f} samples/s ({spread}), {rate / sample_rate:8.2f} x realtime; {against}")


if __name__ == "__main__":
    typer.run(main)
