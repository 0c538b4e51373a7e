"""The engine `cluster` for many clips, without a GPU: its kernels draw what the cluster kernel draws, bit by bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from host_device import COMPILER, HostDevice
from odd_models import ODD, SEEN, write_odd

from slash_infer.bundle import Bundle
from slash_infer.runtimes import cluster_runtime, throughput_runner
from slash_infer.runtimes.cluster_runner import ClusterRunner
from slash_infer.runtimes.cluster_runtime import MOST_CLIPS, Cluster
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.throughput_runner import ThroughputRunner
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ for x86-64 to compile the kernels with")

MANY, FEW = MOST_CLIPS + 1, 2
SHAPES = ODD | SEEN
TELLING = {*ODD, "a history longer than every frame", "every sample is a step"}


@pytest.fixture(scope="module", autouse=True)
def no_turns() -> Iterator[None]:
    """Take the kernels for many clips as soon as the cluster kernel takes no more at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_runtime, "MOST_IN_TURNS", MOST_CLIPS)
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An untrained model."""
    return write_odd(tmp_path_factory.mktemp("untrained"), [])


@pytest.fixture(scope="module")
def engine(bundle: Bundle, kernels: Path) -> Engine:
    return Engine(bundle, Cluster(HostDevice(kernels)), "fp16")


def _drawn(engine: Engine, clips: int, *, steps: int = 3, floor: float = 0.001) -> tuple[Generated, GenerationState]:
    """Return what clips draw after primes, in two requests and at temperatures of their own; and their state then."""
    manifest = engine.manifest
    batch = Batch(engine, clips)
    kind = ThroughputRunner if clips > MOST_CLIPS else ClusterRunner
    assert all(isinstance(runner, kind) for runner in batch._runners)
    levels = manifest.codec.levels
    batch.prefill([np.random.default_rng(clip).integers(0, levels, 13 + clip, np.int32) for clip in range(clips)])
    uniforms = Uniforms(2**63 + 5, range(clips), start=3)
    temperature = np.linspace(0.7, 1.3, MANY * 2 * steps, dtype=np.float32).reshape(MANY, 2 * steps)[:clips]
    parts = [
        batch.generate(uniforms.block(steps * manifest.top_hop), temperature[:, some], floor)
        for some in (slice(steps), slice(steps, None))
    ]
    return Generated.concatenate(parts, axis=1), batch.state()


def _assert_same(made: tuple[Generated, GenerationState], expected: tuple[Generated, GenerationState]) -> None:
    (drawn, state), (expected_drawn, expected_state) = made, expected
    clips = len(expected_drawn.codes)
    assert np.array_equal(drawn.codes[:clips], expected_drawn.codes)
    assert np.array_equal(drawn.nll[:clips], expected_drawn.nll)
    assert np.array_equal(state.history[:clips], expected_state.history)
    for tier, expected_tier in zip(state.rnn_states, expected_state.rnn_states, strict=True):
        assert {*tier} == {*expected_tier}
        assert all(np.array_equal(tier[name][:, :clips], expected_tier[name]) for name in tier)


@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=() if shape in TELLING else pytest.mark.slow) for shape in SHAPES]
)
def test_a_clip_is_the_same_to_the_last_bit_among_many(shape: str, kernels: Path, tmp_path: Path) -> None:
    engine = Engine(write_odd(tmp_path, SHAPES[shape]), Cluster(HostDevice(kernels)), "fp16")
    _assert_same(_drawn(engine, MANY), _drawn(engine, FEW))


def test_a_batch_may_be_larger_than_the_device(bundle: Bundle, kernels: Path) -> None:
    """More blocks of 8 clips than run at the same time: they take 16 then. The last one is not full."""
    engine, clips = Engine(bundle, Cluster(HostDevice(kernels, blocks=2)), "fp16"), 20
    uniform, temperature = Uniforms(1, range(clips)).block(bundle.manifest.top_hop), np.ones((clips, 1), np.float32)
    drawn = Batch(engine, clips).generate(uniform, temperature, 0.0)
    for some in (slice(2), slice(clips - 2, clips)):
        expected = Batch(engine, 2).generate(uniform[some], temperature[some], 0.0)
        assert np.array_equal(drawn.codes[some], expected.codes)
        assert np.array_equal(drawn.nll[some], expected.nll)


def test_the_order_in_which_threads_take_turns_does_not_matter(bundle: Bundle, engine: Engine, kernels: Path) -> None:
    disordered = Engine(bundle, Cluster(HostDevice(kernels, disorder=1)), "fp16")
    _assert_same(_drawn(disordered, MANY, steps=1), _drawn(engine, MANY, steps=1))


def test_uniforms_made_on_the_device_are_those_of_the_host(bundle: Bundle, engine: Engine) -> None:
    """Of candidates, too, and from any time on."""
    hop = bundle.manifest.top_hop
    block = Uniforms(2**64 - 1, [3, 2**64 - 1], start=2**33 + 3, candidates=6).block(2 * hop)
    temperature = np.ones((12, 2), np.float32)
    on_device, on_host = (Batch(engine, 12).generate(each, temperature, 0.0) for each in (block, np.asarray(block)))
    assert np.array_equal(on_device.codes, on_host.codes)
    assert len(np.unique(on_device.codes, axis=0)) == 12


def test_a_long_clip_does_not_lose_its_place(bundle: Bundle, kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are kept in a ring: generating goes around the smallest one several times, and a prime longer than it."""
    monkeypatch.setattr(throughput_runner, "PREFILLED", 1)
    hop, steps = bundle.manifest.top_hop, 8
    engine = Engine(bundle, Cluster(HostDevice(kernels)), "fp16")  # without idle runners
    many, few = Batch(engine, MANY), Batch(engine, 1)
    prime = np.random.default_rng(0).integers(0, 256, 12 * hop, np.int32)
    for batch in (many, few):
        batch.prefill([prime] * batch.clips)
    (runner,) = many._runners
    assert isinstance(runner, ThroughputRunner) and runner.ring < min(len(prime), 2 * steps * hop)
    uniforms = np.asarray(Uniforms(0, [0]).block(2 * steps * hop))
    for some in np.split(uniforms, 2, axis=1):
        expected = few.generate(some, np.ones((1, steps), np.float32), 0.0)
        drawn = many.generate(np.repeat(some, MANY, axis=0), np.ones((MANY, steps), np.float32), 0.0)
        assert np.array_equal(drawn.codes, np.repeat(expected.codes, MANY, axis=0))


MISTAKES = {
    "a barrier removed": ("first_clip, t);\n    block_sync();\n    #pragma", "first_clip, t);\n    #pragma"),
    "sides that do not alternate": ("/ call.hop & 1;", "/ call.hop & 0;"),
    "sums in another order": ("sums.add(some), some = {};", "if (step + g + 1 == steps) sums.add(some);"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_kernels_shows(bundle: Bundle, engine: Engine, mistake: str, kernels: Path) -> None:
    right, wrong = MISTAKES[mistake]

    def change(source: str) -> str:
        assert source.count(right) == (
            "generate(const GRID_CONSTANT Call call)" in source and "run_product" in source
        )
        return source.replace(right, wrong)

    mistaken = Engine(bundle, Cluster(HostDevice(kernels, change=change, disorder=3)), "fp16")
    with pytest.raises(AssertionError):
        _assert_same(_drawn(mistaken, MANY, steps=10), _drawn(engine, MANY, steps=10))
