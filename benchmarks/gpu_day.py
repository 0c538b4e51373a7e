"""Everything that a GPU is for, in one command: tests, generation speed, training speed, and a training.

    python benchmarks/gpu_day.py --out results --minutes 8
    python benchmarks/gpu_day.py --out rehearsal --device cpu --preset tiny --batches 1,2 --minutes 3

Needs PyTorch, pytest, and the packages of Slash's extra `gpu`, and no network. Every stage is a process of its own
with a limit of time; results are written as they come, and a stage that fails or is out of time stops no other. The
last stages train for the time that is left and score the held-out splits. summary.json says what ran and how it went.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from device import describe_device

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.guitar import record

BENCHMARKS = Path(__file__).resolve().parent
TESTS = [BENCHMARKS.parent / "tests" / path for path in ("infer/test_gpu_engines.py", "train/test_gpu.py")]
LEAST_TRAINING = 40.0  # seconds; with less left there is no training
SCORING = 60.0  # seconds kept for the score after the training


@dataclass(frozen=True)
class Stage:
    """One command and its limit."""

    name: str
    command: Sequence[str | Path]
    limit: float
    """Seconds."""


@dataclass(frozen=True)
class Ended:
    """How a stage ended."""

    name: str
    command: str
    exit_code: int | None
    """None if it was out of time."""
    seconds: float


def main(
    out: Annotated[Path, typer.Option(help="Where to write results, a folder.")],
    device: Annotated[str, typer.Option(help="cuda, or cpu to rehearse.")] = "cuda",
    preset: Annotated[str, typer.Option(help="The model.")] = "slash",
    batches: Annotated[str, typer.Option(help="Clips side by side, with commas.")] = "1,8,32,256,1024",
    recordings: Annotated[Path | None, typer.Option(help="What to train on; synthetic guitar if not given.")] = None,
    minutes: Annotated[float, typer.Option(help="For everything.")] = 8.0,
    only: Annotated[str, typer.Option(help="First words of the stages to run, with commas; all if empty.")] = "",
) -> None:
    """Run the stages one after another."""
    out.mkdir(parents=True, exist_ok=True)
    deadline, done = time.monotonic() + 60 * minutes, list[Ended]()
    content = {"machine": asdict(describe_machine()), "device": describe_device(device)}
    for stage in _stages(out, device, preset, batches):
        if not only or stage.name.split()[0] in only.split(","):
            done.append(_run(stage, out, deadline))
            write_json(out / "summary.json", {**content, "stages": [asdict(ended) for ended in done]})
    if not only or "train" in only.split(","):
        for stage in _training(out, device, preset, recordings, deadline):
            done.append(_run(stage, out, deadline))
            write_json(out / "summary.json", {**content, "stages": [asdict(ended) for ended in done]})
    for ended in done:
        print(
            f"{ended.name:20} {'out of time' if ended.exit_code is None else ended.exit_code} {ended.seconds:6.1f} s"
        )


def _stages(out: Path, device: str, preset: str, batches: str) -> list[Stage]:
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, TESTS)]
    speed: list[str | Path] = [
        sys.executable,
        BENCHMARKS / "generate_speed.py",
        "--device",
        device,
        "-n",
        batches,
        "--rounds",
        "3",
    ]
    training: list[str | Path] = [
        sys.executable,
        BENCHMARKS / "train_speed.py",
        "--device",
        device,
        "--preset",
        preset,
        "--steps",
        "4",
    ]
    stages = [Stage("tests", tests, 120)]
    for name in dict.fromkeys((preset, "live")):
        result = out / f"generate_speed_{name}.json"
        command: list[str | Path] = [*speed, "--preset", name, "--run-seconds", "0.5", "--json", result]
        stages.append(Stage(f"generate {name}", command, 120))
    for precision in ("fp32", "bf16"):
        result = out / f"train_speed_{preset}_{precision}.json"
        compiled = ["--compile"] if device == "cuda" else []
        command = [*training, "--precision", precision, *compiled, "--json", result]
        stages.append(Stage(f"training {precision}", command, 120))
    return stages


def _training(out: Path, device: str, preset: str, recordings: Path | None, deadline: float) -> list[Stage]:
    """Return the stages that train for the time that is left, into `out`/run, and score what was learned."""
    left = deadline - time.monotonic() - SCORING
    if left < LEAST_TRAINING:
        print(f"no training: {left:.0f} s are left for it")
        return []
    if recordings is None:
        recordings = out / "recordings"
        record(recordings, minutes=4.0)
    corpus, run = out / "corpus", out / "run"
    slash: list[str | Path] = [sys.executable, "-m", "slash_cli"]
    prepare: list[str | Path] = ["prepare", recordings, "--out", corpus, "--valid", "0.2", "--test", "0.2", "--force"]
    recipe = [
        "--preset",
        preset,
        "--minutes",
        f"{left / 60:.3f}",
        "--precision",
        "bf16" if device == "cuda" else "fp32",
    ]
    recipe += ["--set", "training.preview_clips=0"]  # previews are made on the CPU
    recipe += ["--set", "training.clip_seconds=2"]  # so that a small corpus has enough clips for a large batch
    train: list[str | Path] = ["train", corpus, "--out", run, "--device", device, *recipe, "--force"]
    score = [*slash, "evaluate", run, corpus, "--device", device, "--force"]
    return [
        Stage("prepare", [*slash, *prepare], 60),
        Stage("train", [*slash, *train], left + 60),
        Stage("score valid", [*score, "--split", "valid", "--json", out / f"bits_{preset}_valid.json"], 120),
        Stage("score test", [*score, "--split", "test", "--json", out / f"bits_{preset}_test.json"], 120),
    ]


def _run(stage: Stage, out: Path, deadline: float) -> Ended:
    """Run a stage, its output going to the log and to the terminal's end."""
    command, began = [str(part) for part in stage.command], time.monotonic()
    limit = max(1.0, min(stage.limit, deadline - began))
    log = out / f"{stage.name.replace(' ', '_')}.log"
    with log.open("wb") as file:
        try:
            code = subprocess.run(  # noqa: S603
                command, stdout=file, stderr=subprocess.STDOUT, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    print(f"--- {stage.name}\n{log.read_text(errors='replace')[-2500:]}", flush=True)
    return Ended(stage.name, " ".join(command), code, round(time.monotonic() - began, 1))


if __name__ == "__main__":
    typer.run(main)
