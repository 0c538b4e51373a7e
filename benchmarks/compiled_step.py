"""What one clip would gain if a whole step of the top tier were one compiled call instead of graphs of operators.

    python benchmarks/compiled_step.py --json benchmarks/results/compiled_step.json

compiled_step.c is compiled for this machine, with a model's weights in fp32 or in int8 (a scale for each output), and
raced with Slash's sampler on ONNX Runtime, one thread each. In fp32, its codes are compared with the sampler's.
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from racing import Contender, medians, race, slash, untrained

from slash_infer.bundle import Bundle
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_infer.runtimes.model_weights import FrameTierWeights, read_model_weights
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_train.config import load_preset

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-Wno-psabi")
TILE = 64
COMPARED = 4000  # codes

Array = npt.NDArray[Any]


class Linear(ctypes.Structure):
    """As in compiled_step.c."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
    )


class Tier(ctypes.Structure):
    """As in compiled_step.c."""

    _fields_ = (
        ("gates", Linear),
        ("upsample", Linear),
        ("samples", ctypes.c_void_p),
        ("h", ctypes.c_void_p),
        ("c", ctypes.c_void_p),
        *[(name, ctypes.c_int) for name in ("frame", "hop", "steps", "conditioned")],
    )


class Model(ctypes.Structure):
    """As in compiled_step.c."""

    _fields_ = (
        ("table", ctypes.c_void_p),
        ("hidden", ctypes.POINTER(Linear)),
        ("output", Linear),
        *[(name, ctypes.c_int) for name in ("layers", "history", "levels", "width", "tiers")],
        ("tier", ctypes.POINTER(Tier)),
    )


class CompiledClip:
    """One clip of a bundle's model, with LSTMs of one layer and a sample tier.

    Args:
        bundle: the model, in fp32.
        library: of compiled_step.c.
        int8: whether to keep weights in int8.
    """

    def __init__(self, bundle: Bundle, library: Path, *, int8: bool) -> None:
        self._int8, self._kept = int8, list[Any]()
        self._step = ctypes.CDLL(str(library)).step
        tiers, sample = read_model_weights(bundle, "fp32")
        initial = Engine(bundle, OnnxCpu()).initial_state(1)
        if sample is None or any(tier.cell != "lstm" or len(tier.layers) != 1 or tier.skip for tier in tiers):
            raise SystemExit("the compiled step is for LSTMs of one layer, with a sample tier")
        self._hop, self._uniforms = tiers[-1].hop, Uniforms(0, [0])
        hidden = [self._linear(*layer) for layer in sample.hidden]
        history, levels, width = sample.table.shape
        self._model = Model(
            table=self._keep(sample.table),
            hidden=(Linear * len(hidden))(*hidden),
            output=self._linear(*sample.output),
            layers=len(hidden),
            history=history,
            levels=levels,
            width=width,
            tiers=len(tiers),
            tier=(Tier * len(tiers))(*(self._tier(*both) for both in zip(tiers, initial.rnn_states, strict=True))),
        )
        self._codes = initial.history[0]

    def codes(self, samples: int) -> Array:
        """Draw further codes, [samples], a multiple of the top tier's hop; as the sampler does, block by block."""
        context = len(self._codes)
        codes = np.concatenate([self._codes, np.empty(samples, np.int32)])
        for first in range(0, samples, self._hop):
            uniform = self._uniforms.next(self._hop)
            to = ctypes.c_void_p(codes.ctypes.data + 4 * (context + first))
            self._step(ctypes.byref(self._model), ctypes.c_void_p(uniform.ctypes.data), to)
        self._codes = codes[-context:]
        return codes[context:]

    def _tier(self, tier: FrameTierWeights, state: Mapping[str, Array]) -> Tier:
        (layer,) = tier.layers
        gates = np.concatenate([layer.input_weight, layer.hidden_weight], axis=1).T
        return Tier(
            gates=self._linear(gates, layer.input_bias + layer.hidden_bias),
            upsample=self._linear(*tier.upsample),
            samples=self._keep(tier.samples),
            h=self._keep(state["h"]),
            c=self._keep(state["c"]),
            frame=tier.frame_size,
            hop=tier.hop,
            steps=tier.upsampling,
            conditioned=not tier.is_top,
        )

    def _linear(self, weight: Array, bias: Array) -> Linear:
        """Lay out a weight, [inputs, outputs], by tiles of outputs."""
        inputs, outputs = weight.shape
        scale = np.abs(weight).max(axis=0) / 127 if self._int8 else np.ones(outputs)
        values = np.rint(weight / scale).astype(np.int8) if self._int8 else weight
        tiles = values.reshape(inputs, outputs // TILE, TILE).transpose(1, 0, 2)
        kept = (self._keep(tiles, values.dtype), self._keep(scale), self._keep(bias))
        return Linear(*kept, inputs=inputs, outputs=outputs)

    def _keep(self, values: Array, dtype: npt.DTypeLike = np.float32) -> int:
        kept = np.array(values, dtype, order="C")
        self._kept.append(kept)
        return kept.ctypes.data


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The model.")] = "live",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 7,
    run_seconds: Annotated[float, typer.Option(min=0.001, help="Approximate length of one run.")] = 1.0,
) -> None:
    """Race both, in fp32 and int8."""
    configuration = load_preset(preset)
    _, bundle = untrained(configuration, preset)
    with tempfile.TemporaryDirectory() as name:
        libraries = {precision: _compiled(Path(name), precision) for precision in ("float", "int8_t")}
        exact = CompiledClip(bundle, libraries["float"], int8=False)
        engines = {which: Engine(bundle, OnnxCpu(cores=1), which) for which in ("fp32", "int8")}
        expected = Sampler(bundle, 1, engine=engines["fp32"]).codes(COMPARED)[0]
        identical = _identical(exact.codes(COMPARED), expected)

        def compiled(*, int8: bool) -> Callable[[int], Callable[[int], object]]:
            return lambda _: CompiledClip(bundle, libraries["int8_t" if int8 else "float"], int8=int8).codes

        contenders = [
            *(slash(f"ONNX Runtime, {which}", bundle, engine) for which, engine in engines.items()),
            Contender("compiled, fp32", compiled(int8=False)),
            Contender("compiled, int8", compiled(int8=True)),
        ]
        rates = race(contenders, 1, bundle.manifest.top_hop, rounds, run_seconds)
    middle = medians(rates)
    for name, rate in middle.items():
        print(f"{name}: {rate:,.0f} samples/s ({min(rates[name]):,.0f} to {max(rates[name]):,.0f})")
    print(f"the first {identical:,} of {COMPARED:,} codes are identical in fp32")
    if json_file is not None:
        content = {"machine": asdict(describe_machine()), "preset": preset, "rounds": rounds, "identical": identical}
        write_json(json_file, content | {"compared": COMPARED, "samples_per_second": middle}, force=True)


def _compiled(folder: Path, weight: str) -> Path:
    library = folder / f"{weight}.so"
    command: Sequence[str | Path] = ("cc", *FLAGS, f"-DWEIGHT={weight}", SOURCE, "-o", library, "-lm")
    subprocess.run(command, check=True)  # noqa: S603  our own
    return library


def _identical(ours: Array, theirs: Array) -> int:
    """Return how many codes are the same before the first that differs."""
    different = np.flatnonzero(ours != theirs)
    return int(different[0]) if len(different) else len(ours)


if __name__ == "__main__":
    typer.run(main)
