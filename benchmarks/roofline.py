"""How near generation and training come to what the machine can do, and what holds them back.

    python benchmarks/roofline.py --json benchmarks/results/roofline.json

Measured are how fast the machine multiplies (matrices as wide as the model, in fp32 and as int8's `MatMulNBits`), and
how fast it reads weights that are multiplied by one vector, for as many bytes as each graph keeps: in a cache or
out of it. Counted are the products and bytes of a sample (benchmarks/graph_cost.py). One clip cannot be made much
faster than its weights are read, nor a batch than its products are done; the rest of the time goes into running
operators. One thread throughout, so that nothing depends on how work is shared.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from graph_cost import graph_costs, products_a_sample
from learning import CPU
from racing import medians, one_thread_session, race, slash, untrained
from tables import clips_in_words
from train_speed import synthetic_batches, time_steps

from slash_export.writer import FLOAT, GraphWriter
from slash_infer.bundle import Precision
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.config import Preset, load_preset
from slash_train.trainer import Trainer
from slash_train.workers import Workers

ROWS, COLUMNS = 256, 1024  # of what is multiplied, or read, to find the machine's rates
TRAINING_STEPS = 2  # timed after a first: those of large models take a minute
PASSES = 3  # estimate: products forward, and backward for inputs and for weights, as many as generation has in fp32
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@dataclass(frozen=True)
class Bound:
    """A way of using a model, beside what the machine allows."""

    name: str
    products: float
    """Multiplications of weights for one sample of one clip."""
    weight_bytes: float
    """Of the matrices that they read."""
    operators: float
    samples_per_second: float
    """Of all clips together; the median."""
    products_bound: float
    """Samples/s if the machine did nothing but multiply."""
    bytes_bound: float
    """Samples/s if it did nothing but read the matrices, once for all clips."""
    share: float
    """Of the lower bound."""
    microseconds_an_operator: float
    """What is left of the time of a step, for each of its operators."""


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    presets: Annotated[str, typer.Option(help="With commas.")] = "demo,live,slash",
    clips: Annotated[str, typer.Option("-n", help="Batch sizes, with commas.")] = "1,32",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 5,
    run_seconds: Annotated[float, typer.Option(min=0.001, help="Approximate length of one run.")] = 0.5,
) -> None:
    """Measure the machine, and how near to it generation and training come."""
    torch.set_num_threads(1)
    generation: list[Bound] = []
    training: dict[str, dict[str, float]] = {}
    rates: dict[str, dict[Precision, float]] = {}
    for name in presets.split(","):
        preset = load_preset(name)
        width, batches = preset.model.width, [int(part) for part in clips.split(",")]
        rates[name] = {precision: _products_per_second(precision, width, run_seconds) for precision in PRECISIONS}
        print(name, *(f"{one}: {rate / 1e9:.1f} billion products/s" for one, rate in rates[name].items()))
        made = _generation(name, preset, batches, rates[name], rounds, run_seconds)
        training[name] = _training(preset, made[0].products, rates[name]["fp32"])
        generation += made
    for one in generation:
        bounds = f"{one.products_bound:12,.0f} by products, {one.bytes_bound:12,.0f} by bytes"
        rest = f"{one.share:5.0%}; {one.microseconds_an_operator:.2f} us an operator"
        print(f"{one.name:24}{one.samples_per_second:10,.0f} samples/s; bounds: {bounds}; {rest}")
    for name, found in training.items():
        print(f"training {name:15}{found['samples_per_second']:10,.0f} samples/s, {found['share']:.0%} of the bound")
    if json_file is not None:
        content: dict[str, Any] = {"machine": asdict(describe_machine()), "products_per_second": rates}
        write_json(json_file, content | {"generation": [asdict(one) for one in generation], "training": training})


def _generation(
    name: str, preset: Preset, batches: list[int], rates: dict[Precision, float], rounds: int, run_seconds: float
) -> list[Bound]:
    _, bundle = untrained(preset, name, PRECISIONS)
    contenders = [slash(one, bundle, Engine(bundle, OnnxCpu(cores=1), one)) for one in PRECISIONS]
    costs = {precision: graph_costs(bundle, precision) for precision in PRECISIONS}
    reading = {
        precision: sum(one.weight_bytes / _bytes_per_second(one.kept_bytes, run_seconds) for one in graphs)
        for precision, graphs in costs.items()
    }
    found = []
    for batch in batches:
        raced = medians(race(contenders, batch, bundle.manifest.top_hop, rounds, run_seconds))
        for precision, graphs in costs.items():
            measured = raced[precision]
            multiplying = sum(
                one.float_products / rates["fp32"] + one.int8_products / rates["int8"] for one in graphs
            )
            bound = min(1 / multiplying, batch / reading[precision])
            operators = sum(one.operators for one in graphs)
            found.append(
                Bound(
                    name=f"{name}, {precision}, {clips_in_words(batch)}",
                    products=products_a_sample(graphs),
                    weight_bytes=sum(one.weight_bytes for one in graphs),
                    operators=operators,
                    samples_per_second=measured,
                    products_bound=1 / multiplying,
                    bytes_bound=batch / reading[precision],
                    share=measured / bound,
                    microseconds_an_operator=1e6 * batch * (1 / measured - 1 / bound) / operators,
                )
            )
    return found


def _training(preset: Preset, products: float, products_per_second: float) -> dict[str, float]:
    """Time whole steps: what they cost does not depend on what they learn."""
    recipe = preset.training.model_copy(update={"precision": "fp32"})
    trainer = Trainer(preset.model_copy(update={"training": recipe}), CPU, Workers())
    with tempfile.TemporaryDirectory() as folder:
        batches = synthetic_batches(Path(folder), preset, CPU, 1)
    _, *seconds = (time_steps(trainer.advance, batches, CPU) for _ in range(1 + TRAINING_STEPS))
    measured = recipe.batch_size * recipe.window / statistics.median(seconds)
    bound = products_per_second / (PASSES * products)
    return {"samples_per_second": measured, "products_bound": bound, "share": measured / bound}


def _products_per_second(precision: Precision, width: int, run_seconds: float) -> float:
    """Return how many numbers the machine multiplies and adds in a second, in ONNX Runtime."""
    rng = np.random.default_rng(0)
    writer = GraphWriter("product", precision)
    x = writer.input("x", FLOAT, [ROWS, width])
    weight = rng.standard_normal((width, width)).astype(np.float32)
    product = writer.linear("layer", x, weight, np.zeros(width, np.float32))
    writer.output("product", product, FLOAT, [ROWS, width])
    session = one_thread_session(writer.finish())
    inputs = {"x": rng.standard_normal((ROWS, width)).astype(np.float32)}
    return ROWS * width**2 * _runs_per_second(lambda: session.run(None, inputs), run_seconds)


def _bytes_per_second(size: int, run_seconds: float) -> float:
    """Return how fast a matrix of `size` bytes is multiplied by one vector."""
    matrix = torch.ones(max(1, size // (4 * COLUMNS)), COLUMNS)
    vector = torch.ones(COLUMNS)
    return matrix.nbytes * _runs_per_second(lambda: matrix @ vector, run_seconds)


def _runs_per_second(work: Callable[[], object], run_seconds: float) -> float:
    """Return the best of three measurements, each of about `run_seconds`: noise only takes away."""
    work()
    found = []
    for _ in range(3):
        runs, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < run_seconds:
            work()
            runs += 1
        found.append(runs / took)
    return max(found)


if __name__ == "__main__":
    typer.run(main)
