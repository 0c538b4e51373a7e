"""How cost grows: with clips, seconds, threads, width and tiers in generation, with the corpus in preparing.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json
    python benchmarks/scaling.py --hours 0.17,1,10 --json benchmarks/results/scaling.json

Generation is that of untrained models by the CPU engine in int8, at one axis changed and the others as in preset
`live` with 8 clips. The points of an axis run in turns, those of different numbers of clips one after another, and
medians are reported. Corpora are recorded by the
project's own guitarist; their peak memory is that of `slash prepare` as a process of its own.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from racing import Contender, medians, race, slash, untrained
from streaming import resident_megabytes

from slash_infer.bundle import Bundle
from slash_infer.files import write_json
from slash_infer.machine import describe_machine, usable_cores
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train.config import load_preset
from slash_train.corpus import SAMPLES
from slash_train.guitar import record

CLIPS = 8
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (64, 128, 256, 512, 1024)
TIERS = {
    "two: 32": ("model.hops=[32]", "model.frame_sizes=[512]"),
    "three: 8, 32": (),
    "four: 4, 8, 32": ("model.hops=[4,8,32]", "model.frame_sizes=[32,64,512]"),
}

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""  # in kB. By a small process: a child begins with the peak of the process that it was forked from


@dataclass(frozen=True)
class Point:
    """One measurement of generation."""

    value: str
    """Of the axis."""
    samples_per_second: float
    """Of all clips together."""
    microseconds: float
    """For one sample of one clip."""


@dataclass(frozen=True)
class Streamed:
    """One stretch of a stream."""

    seconds: float
    """Of audio, since the beginning of the stream."""
    took: float
    resident_megabytes: float


@dataclass(frozen=True)
class Prepared:
    """One corpus."""

    hours: float
    took: float
    """Seconds."""
    peak_megabytes: float
    bytes: int
    """Of its samples on disk."""


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    hours: Annotated[str, typer.Option(help="Of corpora to prepare, with commas.")] = "0.17,1",
    seconds: Annotated[str, typer.Option(help="At which to look at a stream, with commas.")] = "4,8,16,32,64",
    most_clips: Annotated[int, typer.Option(min=1, help="Leave out larger batches.")] = BATCHES[-1],
    widest: Annotated[int, typer.Option(min=WIDTHS[0], help="Leave out wider models.")] = WIDTHS[-1],
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 3,
    run_seconds: Annotated[float, typer.Option(min=0.001, help="Approximate length of one run.")] = 0.5,
) -> None:
    """Measure generation and preparing along every axis."""
    live = _bundle()
    engine = Engine(live, OnnxCpu(), "int8")

    def points(contenders: Sequence[Contender], clips: int = CLIPS) -> list[Point]:
        rates = medians(race(contenders, clips, live.manifest.top_hop, rounds, run_seconds))
        return [Point(name, rate, 1e6 / rate) for name, rate in rates.items()]

    batches = [clips for clips in BATCHES if clips <= most_clips]
    axes = {
        "clips": [point for clips in batches for point in points([slash(str(clips), live, engine)], clips)],
        "threads": points(
            [
                slash(str(threads), live, Engine(live, OnnxCpu(cores=threads), "int8"))
                for threads in range(1, usable_cores() + 1)
            ],
            32,
        ),
        "width": points([_contender(str(width), f"model.width={width}") for width in WIDTHS if width <= widest]),
        "tiers": points([_contender(name, *overrides) for name, overrides in TIERS.items()]),
    }
    streamed = list(_streamed(live, engine, [float(part) for part in seconds.split(",")]))
    prepared = [_prepared(float(part)) for part in hours.split(",")]
    for axis, found in axes.items():
        for point in found:
            rate = f"{point.samples_per_second:12,.0f} samples/s {point.microseconds:8.2f} us a sample"
            print(f"{axis:8} {point.value:12} {rate}")
    for one in streamed:
        print(f"seconds  {one.seconds:<12g} {one.took:12.2f} s {one.resident_megabytes:8.1f} MB resident")
    for corpus in prepared:
        print(f"hours    {corpus.hours:<12g} {corpus.took:12.2f} s {corpus.peak_megabytes:8.1f} MB at most")
    if json_file is not None:
        generation = {axis: [asdict(point) for point in found] for axis, found in axes.items()}
        content = {"machine": asdict(describe_machine()), "rounds": rounds, "generation": generation}
        content |= {"stream": [asdict(one) for one in streamed], "corpus": [asdict(one) for one in prepared]}
        write_json(json_file, content)


def _bundle(*overrides: str) -> Bundle:
    return untrained(load_preset("live", overrides), "live", ["int8"])[1]


def _contender(name: str, *overrides: str) -> Contender:
    bundle = _bundle(*overrides)
    return slash(name, bundle, Engine(bundle, OnnxCpu(), "int8"))


def _streamed(bundle: Bundle, engine: Engine, ends: Sequence[float]) -> Iterator[Streamed]:
    """Generate one long stream; yield what each stretch took, and the memory after it."""
    with Sampler(bundle, 1, engine=engine, batch_invariant=False) as sampler:
        for _ in sampler.stream(1.0):
            pass
        for end in ends:
            started = time.perf_counter()
            for _ in sampler.stream(end - sampler.seconds):
                pass
            yield Streamed(end, time.perf_counter() - started, resident_megabytes())


def _prepared(hours: float) -> Prepared:
    """Record a corpus in takes of ten minutes, and prepare it."""
    with tempfile.TemporaryDirectory() as folder:
        recordings, corpus = Path(folder) / "recordings", Path(folder) / "corpus"
        record(recordings, 60 * hours, takes=max(1, round(6 * hours)))
        command = [sys.executable, "-m", "slash_cli", "prepare", str(recordings), "--out", str(corpus)]
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", PEAK, *command], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        took, peak = time.perf_counter() - started, int(done.stdout)
        return Prepared(hours, took, 1024 * peak / 1e6, (corpus / SAMPLES).stat().st_size)


if __name__ == "__main__":
    typer.run(main)
