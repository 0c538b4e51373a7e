"""Batch invariance: in which batches are clips the same to the last bit, and what does padding one clip cost?

    python benchmarks/batch_invariance.py BUNDLE --json benchmarks/results/batch_invariance.json

For every precision on the CPU, clips are generated in batches of 1 to --most, padded (as files are) and not padded
(as a live stream is), and their codes and likelihoods are compared with those of the largest batch. Then one clip is
timed padded and not padded, in interleaved rounds; medians are reported.
"""

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from slash_infer import Bundle, Sampler
from slash_infer.bundle import Precision
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms

WARM_UP_SECONDS = 0.05


@dataclass(frozen=True)
class Invariance:
    """One precision of a bundle."""

    precision: Precision
    samples: int
    """Of each clip that were compared."""
    padded_batches_that_differ: list[int]
    unpadded_batches_that_differ: list[int]
    padded_samples_per_second: float
    """Of one clip."""
    unpadded_samples_per_second: float
    ratio: float
    """Speed of one clip padded to that of one clip not padded."""


def main(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the result goes.")] = None,
    most: Annotated[int, typer.Option(min=2, help="The largest batch.")] = 20,
    seconds: Annotated[float, typer.Option(help="Of audio: compared, and timed in every round.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 9,
) -> None:
    """Compare and time every precision of a bundle."""
    opened = Bundle(bundle)
    results = []
    for variant in opened.manifest.variants:
        result = _measure(opened, Engine(opened, OnnxCpu(), variant.precision), most, seconds, rounds)
        padded, unpadded = result.padded_batches_that_differ, result.unpadded_batches_that_differ
        print(
            f"{result.precision}: of batches 1 to {most}, {padded or 'none'} differ padded, {unpadded or 'none'} not "
            f"padded; one clip padded runs at {result.ratio:.2f} of the speed of one row "
            f"({result.unpadded_samples_per_second:,.0f} samples/s)"
        )
        results.append(result)
    if json_file is not None:
        content: dict[str, Any] = {
            "machine": asdict(describe_machine()),
            "bundle": opened.manifest.provenance.model_dump(mode="json"),
            "rounds": rounds,
            "results": [asdict(result) for result in results],
        }
        write_json(json_file, content)


def _measure(bundle: Bundle, engine: Engine, most: int, seconds: float, rounds: int) -> Invariance:
    hop, rate = bundle.manifest.top_hop, bundle.manifest.sample_rate
    samples = -(-round(seconds * rate) // hop) * hop
    uniform, temperature = Uniforms(0, range(most)).next(samples), np.ones((most, samples // hop), np.float32)
    largest = Batch(engine, most).generate(uniform, temperature, 0.0)
    differ: dict[bool, list[int]] = {True: [], False: []}
    for batch_invariant, batches in differ.items():
        for clips in range(1, most + 1):
            batch = Batch(engine, clips, batch_invariant=batch_invariant)
            generated = batch.generate(uniform[:clips], temperature[:clips], 0.0)
            expected = largest.select(slice(clips))
            same = np.array_equal(generated.codes, expected.codes) and np.array_equal(generated.nll, expected.nll)
            if not same:
                batches.append(clips)
            batch.close()
    rates: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for batch_invariant, timed in rates.items():
            with Sampler(bundle, [0], engine=engine, batch_invariant=batch_invariant) as sampler:
                sampler.generate(WARM_UP_SECONDS)
                start = time.perf_counter()
                sampler.generate(seconds)
                timed.append(seconds * rate / (time.perf_counter() - start))
    padded, unpadded = (statistics.median(rates[batch_invariant]) for batch_invariant in (True, False))
    return Invariance(
        precision=engine.precision,
        samples=samples,
        padded_batches_that_differ=differ[True],
        unpadded_batches_that_differ=differ[False],
        padded_samples_per_second=padded,
        unpadded_samples_per_second=unpadded,
        ratio=padded / unpadded,
    )


if __name__ == "__main__":
    typer.run(main)
