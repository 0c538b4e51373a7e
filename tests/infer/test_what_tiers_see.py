"""Frames larger than hops, and histories shorter or longer than both: samplers do what the model does."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_models import SEEN, odd_model, write_odd
from plain_sampler import PlainSampler

from slash_infer.bundle import Bundle
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler

TIE = 1e-5


@pytest.fixture(scope="module", params=SEEN)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(shape: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_odd(tmp_path_factory.mktemp("seen"), SEEN[shape], ["fp32"])


@pytest.fixture(scope="module")
def on_cpu(seen: Bundle) -> Engine:
    return Engine(seen, OnnxCpu())


def test_the_plain_sampler_makes_the_same_codes(seen: Bundle, on_cpu: Engine) -> None:
    steps = 2 + 200 // seen.manifest.top_hop
    plain = PlainSampler(seen.path, seed=3, clips=[0, 7], floor=0.002)
    for _ in range(steps):
        plain.frame()
    sampler = Sampler(seen, [0, 7], seed=3, temperature=1.0, floor=0.002, engine=on_cpu)
    codes = sampler.codes(steps * seen.manifest.top_hop)
    assert np.array_equal(plain.codes[:, seen.manifest.context :], codes)


def test_primes_are_continued_as_the_model_continues_them(seen: Bundle, on_cpu: Engine, shape: str) -> None:
    """Primes shorter than a hop, a frame and the context; as long as them; longer; and none."""
    manifest, model = seen.manifest, odd_model(SEEN[shape]).model.double()
    hop, context, silence = manifest.top_hop, manifest.context, manifest.codec.silence
    lengths = [0, 1, *_around(hop), *_around(context), 2 * context + hop + 3]
    primes = [np.random.default_rng(i).integers(0, 256, length, np.int32) for i, length in enumerate(lengths)]
    uniform = Uniforms(5, range(len(primes))).next(40 * hop)
    batch = Batch(on_cpu, len(primes))
    batch.prefill(primes)
    drawn = batch.generate(uniform, np.ones((len(primes), 40), np.float32), 0.0)
    for i, prime in enumerate(primes):
        before = np.full(context + -len(prime) % hop, silence)
        window = np.concatenate([before, prime, drawn.codes[i]])[np.newaxis]
        with torch.inference_mode():
            logits, _ = model(torch.from_numpy(window).long(), model.initial_state(1))
        cumulative = torch.softmax(logits[0, -40 * hop :], dim=-1).cumsum(-1).numpy()
        edges, t = np.pad(cumulative, ((0, 0), (1, 0))), np.arange(40 * hop)
        off = np.maximum(edges[t, drawn.codes[i]] - uniform[i], uniform[i] - edges[t, drawn.codes[i] + 1])
        assert off.max() < TIE, f"a prime of {len(prime)}"


def _around(length: int) -> Iterator[int]:
    return iter([max(0, length - 1), length, length + 1])


def test_a_saved_sampler_goes_on_exactly(seen: Bundle, on_cpu: Engine, tmp_path: Path) -> None:
    """Saved before the context is full, in the midst of a hop, and after more than a context."""
    for length in (1, seen.manifest.top_hop + 1, seen.manifest.context + 3):
        sampler = Sampler(seen, 2, engine=on_cpu)
        sampler.codes(length)
        sampler.save(tmp_path / "saved.npz")
        expected = sampler.codes(100)
        assert np.array_equal(Sampler.restore(tmp_path / "saved.npz", seen, engine=on_cpu).codes(100), expected)


def test_a_clip_is_the_same_in_any_batch(seen: Bundle, on_cpu: Engine) -> None:
    together = Sampler(seen, range(5), engine=on_cpu).codes(100)
    for clip in (0, 4):
        assert np.array_equal(Sampler(seen, [clip], engine=on_cpu).codes(100)[0], together[clip])


def test_a_clip_begins_with_silence_as_long_as_the_context(seen: Bundle, on_cpu: Engine) -> None:
    """A runner that made something else before makes the same first samples once it is put back to the beginning."""
    manifest, hop = seen.manifest, seen.manifest.top_hop
    initial = on_cpu.initial_state(2)
    assert initial.history.shape == (2, manifest.context) and (initial.history == manifest.codec.silence).all()
    uniform, temperature = Uniforms(1, [0, 1]).next(8 * hop), np.ones((2, 8), np.float32)
    fresh, used = on_cpu.runner(2), on_cpu.runner(2)
    used.prefill(np.random.default_rng(0).integers(0, 256, (2, 16 * hop), np.int32))
    used.generate(uniform[:, : 3 * hop], temperature[:, :3], 0.0)
    used.set_state(initial)
    assert np.array_equal(
        used.generate(uniform, temperature, 0.0).codes, fresh.generate(uniform, temperature, 0.0).codes
    )


def test_frames_and_history_given_as_in_the_paper_are_those_not_given(tmp_path: Path) -> None:
    given = write_odd(tmp_path, ["model.frame_sizes=[4,16]", "model.history=4"]).manifest.files()
    assert given == write_odd(tmp_path, []).manifest.files()
