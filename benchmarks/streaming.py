"""Measures a long stream: does memory stay flat, and how much of a step's time is spent in Python?

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
import onnxruntime as ort
import typer

from slash_infer import Bundle, Sampler
from slash_infer.bundle import Precision
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.onnx_session import open_session
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import LIVE_BLOCK_SECONDS

PRECISION: Precision = "int8"
PROFILED_SECONDS = 2.0  # of audio, in every round
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Memory:
    """Resident memory of this process while it streams."""

    seconds: float
    """Seconds of audio streamed."""
    realtime: float
    """Seconds of audio per second of wall clock."""
    after_first_second_mb: float
    """When the first second of audio had been streamed."""
    peak_mb: float
    """The most at any later block."""
    at_end_mb: float


@dataclass(frozen=True)
class Frame:
    """A step of the top tier with everything below it: medians of interleaved rounds."""

    samples: int
    """Samples per step."""
    microseconds: float
    python_microseconds: float
    """The loop, the copies, uniforms and decoding: with every run of a graph replaced by one that returns at once."""
    python_share: float
    uniforms_microseconds: float
    """Part of Python's: drawing the uniforms of one step."""
    decoding_microseconds: float
    """Part of Python's: decoding the codes of one step."""
    runs: int
    """Runs of graphs per step."""


class InertSession:
    """Stands in for an ONNX Runtime session, but its runs return at once and are counted.

    Args:
        session: a real one, for everything else.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self.get_inputs, self.get_outputs, self.io_binding = (
            session.get_inputs,
            session.get_outputs,
            session.io_binding,
        )
        self.runs = 0

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions | None) -> None:
        """Do no more than ONNX Runtime's wrapper in Python, an attribute access and a call, and count."""
        operator.is_(binding.bind_input, options)
        self.runs += 1


def measure_memory(bundle: Bundle, engine: Engine, seconds: float) -> Memory:
    """Stream one clip in the blocks of a live stream."""
    first, peak = 0.0, 0.0
    start = time.perf_counter()
    with Sampler(bundle, 1, engine=engine, batch_invariant=False) as sampler:
        for _ in sampler.stream(seconds, block_seconds=LIVE_BLOCK_SECONDS):
            if sampler.seconds >= 1:
                now = resident_megabytes()
                first, peak = first or now, max(peak, now)
        streamed = sampler.seconds
    return Memory(streamed, streamed / (time.perf_counter() - start), first, peak, resident_megabytes())


def profile_frame(bundle: Bundle, engine: Engine, rounds: int) -> Frame:
    """Time a step of plain sampling with and without the work of ONNX Runtime."""
    sessions: list[InertSession] = []

    def open_inert(content: bytes, name: str, options: ort.SessionOptions, providers: list[Any]) -> InertSession:
        sessions.append(InertSession(open_session(content, name, options, providers)))
        return sessions[-1]

    inert = Engine(bundle, OnnxCpu(open_session=open_inert), engine.precision)
    hop, rate = bundle.manifest.top_hop, bundle.manifest.sample_rate
    steps = round(PROFILED_SECONDS * rate) // hop
    times: dict[str, list[float]] = {"all": [], "python": []}
    for _ in range(rounds):
        for name, ran in (("all", engine), ("python", inert)):
            with Sampler(bundle, 1, engine=ran, batch_invariant=False, candidates=1, restart=False) as sampler:
                sampler.generate(WARM_UP_SECONDS)
                before, start = sum(session.runs for session in sessions), time.perf_counter()
                for _ in sampler.stream(steps * hop / rate):
                    pass
                times[name].append((time.perf_counter() - start) / steps * 1e6)
    full, python = (statistics.median(times[name]) for name in ("all", "python"))
    runs = (sum(session.runs for session in sessions) - before) / steps
    samples = steps * hop
    uniforms, codes = Uniforms(0, [0]), np.zeros((1, samples), np.int32)
    return Frame(
        samples=hop,
        microseconds=full,
        python_microseconds=python,
        python_share=python / full,
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


def resident_megabytes() -> float:
    """Return this process's resident memory in MB, from Linux's /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmRSS")


def main(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    minutes: Annotated[float, typer.Option(min=0.05, help="Minutes of audio to stream.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
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
