"""Generation speed: every available engine and precision against an eager PyTorch loop, interleaved.

    python benchmarks/generate_speed.py --preset slash -n 1,8,32 --json benchmarks/results/generate_speed_slash.json
    python benchmarks/generate_speed.py --preset slash -n 1,8,32,256,1024 --device cuda --json ...

The model is untrained: speed does not depend on what it has learned. `eager` is benchmarks/eager_generation.py, one
call per sample, on one thread and on all. In every round, each contender runs for about --run-seconds. Rounds are
interleaved and medians reported: noise of the machine then affects all contenders alike. With --device cuda, eager
and every engine run on the GPU, and the cost of one frame is compared with reading the weights once.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from device import describe_device
from eager_generation import EagerGeneration
from racing import Contender, medians, race, slash, untrained
from tables import clips_in_words

from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import BY_NAME_ALONE, find_runtimes, runtime_named
from slash_infer.sampling.engine import Engine
from slash_train.config import Preset, load_preset
from slash_train.model import SampleRNN

BASELINE = "eager"
SETTLING_SECONDS = 0.3  # after PyTorch's loop, whose threads keep spinning for a while


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
    model, bundle = untrained(configuration, preset)
    if device == "cuda":
        contenders, costs = _on_gpu(bundle, model, configuration)
    else:
        contenders, costs = _on_cpu(bundle, model, configuration), {}
        if against:
            other = untrained(load_preset(preset, [*(overrides or ()), *against]), preset)[1]
            contenders += [
                slash(f"cpu {precision}, {', '.join(against)}", other, Engine(other, OnnxCpu(), precision))
                for precision in ("fp32", "int8")
            ]
    sample_rate = configuration.audio.sample_rate
    results = {}
    for batch in batches:
        rates = race(contenders, batch, bundle.manifest.top_hop, rounds, run_seconds)
        results[batch] = medians(rates)
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


def _on_cpu(bundle: Bundle, model: SampleRNN, preset: Preset) -> list[Contender]:
    threads = torch.get_num_threads()
    silence = preset.audio.codec.silence
    contenders = [_eager(f"{BASELINE}, 1 thread", model, silence, 1)]
    if threads > 1:
        contenders.append(_eager(f"{BASELINE}, {threads} threads", model, silence, threads))
    for precision in ("fp32", "int8"):
        engine = Engine(bundle, OnnxCpu(cores=1), precision)
        contenders.append(slash(f"cpu {precision}, 1 thread", bundle, engine))
        if threads > 1:
            engine = Engine(bundle, OnnxCpu(), precision)
            contenders.append(slash(f"cpu {precision}, as slash runs it", bundle, engine))
    try:
        compiled = runtime_named("compiled")
        engines = [Engine(bundle, compiled, precision) for precision in reversed(compiled.precisions)]
    except UserError as reason:
        print(f"without compiled: {reason}")
        return contenders
    return [*contenders, *(slash(f"compiled {engine.precision}", bundle, engine) for engine in engines)]


def _on_gpu(bundle: Bundle, model: SampleRNN, preset: Preset) -> tuple[list[Contender], dict[str, dict[str, Any]]]:
    """Return the contenders on the GPU, and the cost of a frame for each of Slash's that runs graphs."""
    from gpu_frame import frame_cost

    contenders = [_eager(BASELINE, model.cuda(), preset.audio.codec.silence, torch.get_num_threads())]
    costs = {}
    for name, runtime in find_runtimes(without=BY_NAME_ALONE):
        if isinstance(runtime, Unavailable):
            print(f"without {name}: {runtime}")
            continue
        for precision in runtime.precisions if name != "cpu" else ():
            try:
                engine = Engine(bundle, runtime, precision)
            except UserError as reason:
                print(f"without {name} {precision}: {reason}")
                continue
            contenders.append(slash(f"{name} {precision}", bundle, engine))
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


def _print(batch: int, rates: dict[str, list[float]], sample_rate: int) -> None:
    middle = medians(rates)
    baselines = [name for name in middle if name.startswith(BASELINE)]
    print(f"\n{clips_in_words(batch)}")
    for name, rate in middle.items():
        against = ", ".join(f"{rate / middle[base]:6.2f} x {base}" for base in baselines)
        spread = f"{min(rates[name]):,.0f}-{max(rates[name]):,.0f}"
        print(f"{name:28}{rate:12,.0f} samples/s ({spread}), {rate / sample_rate:8.2f} x realtime; {against}")


if __name__ == "__main__":
    typer.run(main)
