"""Training speed: Slash's step against plain layers and against a baseline, interleaved.

    python benchmarks/train_speed.py --preset slash --json benchmarks/results/train_speed_slash.json
    python benchmarks/train_speed.py --preset slash --device cuda --precision bf16 --compile --json ...

`slash` is the step of `slash train`; `plain layers` is the same with embed, flatten and multiply in the sample tier;
`baseline` is benchmarks/baseline.py. All contenders get the same windows. Rounds are interleaved and medians
reported: noise of the machine then affects all contenders alike. At the end comes a profile of Slash's step.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from baseline import BaselineTrainer
from device import describe_device

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.devices import choose_device
from slash_train.guitar import record
from slash_train.loader import Batch, Loader
from slash_train.prepare import prepare
from slash_train.streams import TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

RECORDED_MINUTES = 4.0
OPERATIONS = 8  # rows of the profile


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The model.")] = "slash",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change one value of the preset.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 3,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of Slash's step and the plain layers: fp32 or bf16.")] = "fp32",
    compile_model: Annotated[bool, typer.Option("--compile", help="Add Slash's step, compiled.")] = False,
) -> None:
    """Measure samples/s of training."""
    # Short clips, to have enough of them for any batch size.
    changes = [*(overrides or ()), f"training.precision={precision}", "training.clip_seconds=1.0"]
    configuration, place = load_preset(preset, changes), choose_device(device)
    contenders = _contenders(configuration, place, compile_model=compile_model)
    with tempfile.TemporaryDirectory() as folder:
        batches = synthetic_batches(Path(folder), configuration, place, steps)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for advance in contenders.values():  # allocation and compilation, untimed
        time_steps(advance, batches[:1], place)
    for _ in range(rounds):
        for name, advance in contenders.items():
            seconds[name].append(time_steps(advance, batches, place))
    recipe = configuration.training
    samples = len(batches) * recipe.batch_size * recipe.window
    rates = {name: samples / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:18}{rate:12,.0f} samples/s{rate / rates['baseline']:8.2f} x baseline")
    operations = _profile(contenders["slash"], batches[0], place)
    for name, share in operations.items():
        print(f"{share:8.1%}  {name}")
    if json_file is not None:
        content: dict[str, Any] = {
            "machine": asdict(describe_machine()),
            "device": describe_device(place.type),
            "threads": torch.get_num_threads(),
            "preset": preset,
            "model": configuration.model.model_dump(mode="json"),
            "batch_size": recipe.batch_size,
            "window": recipe.window,
            "precision": precision,
            "rounds": rounds,
            "samples_per_second": rates,
            "seconds_per_round": seconds,
            "share_of_time": operations,
        }
        write_json(json_file, content)


def _contenders(preset: Preset, device: torch.device, *, compile_model: bool) -> dict[str, Callable[[Batch], None]]:
    codec, recipe = preset.audio.codec, preset.training
    looks_up, multiplies = (Trainer(preset, device, Workers()) for _ in range(2))
    for trainer in (looks_up, multiplies):  # whichever training would take here
        if trainer.model.sample_tier is not None:
            trainer.model.sample_tier.multiplies = trainer is multiplies
    contenders: dict[str, Callable[[Batch], None]] = {
        "slash": looks_up.advance,
        "plain layers": multiplies.advance,
        "baseline": BaselineTrainer(
            preset.model, codec.levels, recipe.batch_size, recipe.learning_rate, device
        ).advance,
    }
    if compile_model:
        compiled = Trainer(preset, device, Workers())
        compiled.compile()
        contenders["slash, compiled"] = compiled.advance
    return contenders


def synthetic_batches(folder: Path, preset: Preset, device: torch.device, count: int) -> list[Batch]:
    """Return windows of synthetic guitar, on the device."""
    record(folder / "recordings", RECORDED_MINUTES)
    rate = preset.audio.sample_rate
    prepare([folder / "recordings"], folder / "corpus", sample_rate=rate, valid=0, test=0)
    with Loader(TrainingStream(Corpus(folder / "corpus"), preset), device) as loader:
        return [loader.next() for _ in range(count)]


def time_steps(advance: Callable[[Batch], None], batches: list[Batch], device: torch.device) -> float:
    """Return the seconds that a step on each batch takes, all together."""
    _wait(device)
    started = time.perf_counter()
    for batch in batches:
        advance(batch)
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _profile(advance: Callable[[Batch], None], batch: Batch, device: torch.device) -> dict[str, float]:
    """Return the operations that take the most time in a step, with their share of it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        time_steps(advance, [batch], device)
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    times = {event.key: float(getattr(event, attribute)) for event in profiler.key_averages()}
    total = sum(times.values())
    longest = sorted(times, key=lambda name: -times[name])[:OPERATIONS]
    return {name: times[name] / total for name in longest}


if __name__ == "__main__":
    typer.run(main)
