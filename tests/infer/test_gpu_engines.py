"""Engines on a GPU compute what the CPU does and draw the same codes."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from odd_models import ODD, SEEN, write_odd

from slash_export.verify import Verdict, verify
from slash_infer.bundle import Bundle
from slash_infer.choices import EngineName
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import find_runtimes, runtime_named
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler

REASONS = {name: str(found) for name, found in find_runtimes() if isinstance(found, Unavailable)}


def _here(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name in REASONS, reason=f"gpu: {REASONS.get(name)}")


ENGINES = [pytest.param(name, marks=_here(name)) for name in get_args(EngineName) if name not in ("auto", "cpu")]
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ENGINES)
def test_it_agrees_with_the_cpu(bundle: Bundle, name: str) -> None:
    runtime = runtime_named(name)
    verdicts = verify(bundle, [runtime])
    assert {verdict.precision for verdict in verdicts} == set(runtime.precisions)
    for verdict in verdicts:
        assert isinstance(verdict, Verdict) and verdict.fault is None, verdict


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("clips", [1, 3, 16])
def test_frames_of_any_batch_follow_one_another(bundle: Bundle, name: EngineName, clips: int) -> None:
    """Generated in parts, and at once by a second sampler of the same engine."""
    engine = open_engine(bundle, name)
    sampler = Sampler(bundle, range(clips), engine=engine)
    in_parts = np.concatenate([sampler.codes(n) for n in (1, 15, 16, 480)], axis=1)
    assert np.array_equal(in_parts, Sampler(bundle, range(clips), engine=engine).codes(512))


@_here("cluster")
def test_the_cluster_kernel_makes_a_clip_the_same_to_the_last_bit_in_any_batch(bundle: Bundle) -> None:
    engine, hop = open_engine(bundle, "cluster"), bundle.manifest.top_hop
    steps = 500  # sums that are rounded in another order show in one of 2,000 samples
    uniform, temperature = Uniforms(2, range(300)).next(steps * hop), np.ones((300, steps), np.float32)
    expected = Batch(engine, 300).generate(uniform, temperature, 0.0)
    for clips in (1, 2, 3, 5, 8, 13, 40):
        made = Batch(engine, clips).generate(uniform[:clips], temperature[:clips], 0.0)
        assert np.array_equal(made.codes, expected.codes[:clips])
        np.testing.assert_array_equal(made.nll, expected.nll[:clips], f"{clips} clips")


@_here("cluster")
def test_the_cluster_kernel_takes_primes_and_goes_on_from_saved_samplers(bundle: Bundle, tmp_path: Path) -> None:
    engine = open_engine(bundle, "cluster")
    codes = [np.random.default_rng(0).integers(0, 256, length, np.int32) for length in (100, 2000, 5000)]
    on_gpu, on_cpu = Batch(engine, 3), Batch(Engine(bundle, OnnxCpu(), "fp16"), 3)
    for batch in (on_gpu, on_cpu):
        batch.prefill(codes)
    for tier, expected in zip(on_gpu.state().rnn_states, on_cpu.state().rnn_states, strict=True):
        assert all(np.abs(tier[name] - expected[name]).max() < 0.02 for name in expected)
    sampler = Sampler(bundle, 3, engine=engine)
    sampler.codes(21)
    sampler.save(tmp_path / "saved.npz")
    following = sampler.codes(1000)
    assert np.array_equal(Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine).codes(1000), following)


@_here("cluster")
@pytest.mark.parametrize("shape", ODD | SEEN)
def test_the_cluster_kernel_runs_models_of_any_shape(shape: str, tmp_path: Path) -> None:
    (verdict,) = verify(write_odd(tmp_path, (ODD | SEEN)[shape]), [runtime_named("cluster")])
    assert isinstance(verdict, Verdict) and verdict.fault is None, verdict
