"""Measures a long stream: does memory stay flat, and how much of a frame's time is Python's?

python benchmarks/streaming.py BUNDLE --minutes 10 --json benchmarks/results/streaming.json
"""

import operator
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from slash_infer import Bundle, Sampler
from slash_infer.audio.pcm_stream import BLOCK_SECONDS
from slash_infer.bundle import Precision
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms

PRECISION: Precision = "int8"
PROFILED_SECONDS = 2.0  # of audio, in every round
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Memory:
    """Of this process while it streams."""

    seconds: float
    """Of audio streamed."""
    realtime: float
    after_first_second_mb: float
    """Resident memory when the first second had been streamed."""
    peak_mb: float
    """The most at any block after it."""
    at_end_mb: float


@dataclass(frozen=True)
class Frame:
    """A step of the top tier and all that it makes happen, medians of interleaved rounds."""

    samples: int
    microseconds: float
    python_microseconds: float
    """With every run of a graph replaced by one that returns at once: the loop, the copies, uniforms and decoding."""
    python_share: float
    uniforms_microseconds: float
    """Of Python's: drawing them, for the samples of one step."""
    decoding_microseconds: float
    """Of Python's: codes to samples, likewise."""
    runs: int
    """Of graphs, in a step."""


class InertSession:
    """Takes the place of an ONNX Runtime session: runs do as little as the wrapper in Python does, and count."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs = 0

    def io_binding(self) -> Any:
        """As the session's own."""
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        """Look at what the session would run, and count."""
        operator.is_(binding._iobinding, options)
        self.runs += 1


def measure_memory(bundle: Bundle, engine: Engine, seconds: float) -> Memory:
    """Stream one clip in blocks as `slash generate --out -` does."""
    first, peak = 0.0, 0.0
    start = time.perf_counter()
    with Sampler(bundle, 1, engine=engine) as sampler:
        for _ in sampler.stream(seconds, block_seconds=BLOCK_SECONDS):
            if sampler.seconds >= 1:
                now = _resident_mb()
                first, peak = first or now, max(peak, now)
        streamed = sampler.seconds
    return Memory(streamed, streamed / (time.perf_counter() - start), first, peak, _resident_mb())


def profile_frame(bundle: Bundle, engine: Engine, rounds: int) -> Frame:
    """Time a step with and without what ONNX Runtime does in it."""
    inert = Engine(bundle, OnnxCpu(), engine.precision)
    graphs: list[Any] = [*inert.frame_tiers, inert.sample_tier]
    for graph in graphs:
        graph._session = InertSession(graph._session)
    hop, rate = bundle.manifest.top_hop, bundle.manifest.sample_rate
    steps = round(PROFILED_SECONDS * rate) // hop
    times: dict[str, list[float]] = {"all": [], "python": []}
    for _ in range(rounds):
        for name, ran in (("all", engine), ("python", inert)):
            with Sampler(bundle, 1, engine=ran) as sampler:
                sampler.generate(WARM_UP_SECONDS)
                before, start = sum(graph._session.runs for graph in graphs), time.perf_counter()
                for _ in sampler.stream(steps * hop / rate):
                    pass
                times[name].append((time.perf_counter() - start) / steps * 1e6)
    whole, python = (statistics.median(times[name]) for name in ("all", "python"))
    runs = (sum(graph._session.runs for graph in graphs) - before) / steps
    samples = steps * hop
    uniforms, codes = Uniforms(0, [0]), np.zeros((1, samples), np.int32)
    return Frame(
        samples=hop,
        microseconds=whole,
        python_microseconds=python,
        python_share=python / whole,
        uniforms_microseconds=_microseconds(lambda: uniforms.next(samples), rounds) / steps,
        decoding_microseconds=_microseconds(lambda: bundle.manifest.codec.decode(codes), rounds) / steps,
        runs=round(runs),
    )


def _microseconds(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def _resident_mb() -> float:
    """Return this process's resident memory in MB, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmRSS")


def main(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    minutes: Annotated[float, typer.Option(min=0.05, help="Of audio to stream.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the result goes.")] = None,
) -> None:
    """Measure and print."""
    opened = Bundle(bundle)
    engine = Engine(opened, OnnxCpu(), PRECISION)
    frame = profile_frame(opened, engine, rounds)
    print(
        f"{opened.manifest.provenance.preset}, {PRECISION}: a step of the top tier, {frame.samples} samples: "
        f"{frame.microseconds:.0f} us, of which Python {frame.python_microseconds:.1f} us "
        f"({100 * frame.python_share:.1f}%: {frame.uniforms_microseconds:.1f} us uniforms, "
        f"{frame.decoding_microseconds:.1f} us decoding), the rest {frame.runs} runs of graphs"
    )
    memory = measure_memory(opened, engine, 60 * minutes)
    print(
        f"{memory.seconds:.0f} s streamed at {memory.realtime:.2f} x realtime: {memory.after_first_second_mb:.1f} MB "
        f"after the first second, {memory.peak_mb - memory.after_first_second_mb:+.1f} MB at most after it"
    )
    if json_file:
        content = {"machine": asdict(describe_machine()), "precision": PRECISION, "frame": asdict(frame)}
        write_json(json_file, {**content, "memory": asdict(memory)})


if __name__ == "__main__":
    typer.run(main)
