"""Clips keep to what recordings do: of candidates the one that surprises no more is taken, and nothing lasts."""

import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_recordings import keeping_to

from slash_cli.again import again
from slash_infer.bundle import Bundle, Manifest, Recorded
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.errors import UserError
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_infer.sampling.steering import HARMONICITY_BITS, Steering

BLOCK = 1024


@pytest.fixture(name="strict", scope="module")
def _strict(bundle: Bundle) -> Bundle:
    """The same graphs beside recordings that hardly surprise and are never silent for a block."""
    return keeping_to(bundle, Recorded(surprise=0.5, harmonicity=0.0, silence=0.0, pause=0.064, variation=0.0))


def _sampler(bundle: Bundle, clips: Any = 1, **options: Any) -> Sampler:
    return Sampler(bundle, clips, temperature=1.0, engine=Engine(bundle, OnnxCpu()), **options)


@pytest.mark.parametrize("options", [{}, {"candidates": 1}, {"restart": False}, {"candidates": 3}])
def test_a_clip_comes_out_the_same_in_any_lengths_and_beside_any_others(
    strict: Bundle, options: dict[str, Any]
) -> None:
    whole = _sampler(strict, 3, **options).codes(3000)
    assert not np.array_equal(whole, _sampler(strict, 3, candidates=1, restart=False).codes(3000))
    sampler = _sampler(strict, 3, **options)
    lengths = (1, 255, 1, 16, 1700, 16, 1011)
    assert np.array_equal(np.concatenate([sampler.codes(length) for length in lengths], axis=1), whole)
    assert np.array_equal(_sampler(strict, [2, 9], **options).codes(3000)[0], whole[2])


def test_without_a_choice_it_is_plain_sampling(bundle: Bundle, strict: Bundle) -> None:
    plain = _sampler(keeping_to(bundle, None), 2, candidates=8).codes(3000)
    assert np.array_equal(_sampler(strict, 2, candidates=1, restart=False).codes(3000), plain)
    lenient = keeping_to(bundle, Recorded(surprise=64, harmonicity=0.0, silence=-200, pause=1, variation=0.0))
    assert np.array_equal(_sampler(lenient, 2).codes(3000), plain)  # the first candidate is the clip's own


@pytest.mark.parametrize("primed", [False, True])
def test_a_saved_sampler_goes_on_exactly(strict: Bundle, tmp_path: Path, primed: bool) -> None:
    prime = [np.sin(np.arange(500) / 9) * 0.1, np.zeros(40)]
    samplers = [_sampler(strict, 2, candidates=3) for _ in range(2)]
    if primed:
        for sampler in samplers:
            sampler.prime(prime)
    whole, begun = samplers[0].codes(4000), samplers[1].codes(1605)  # within a block, and within a step
    samplers[1].save(tmp_path / "saved.npz")
    restored = Sampler.restore(tmp_path / "saved.npz", strict, engine=Engine(strict, OnnxCpu()))
    assert (restored.candidates, restored.restart) == (3, True)
    assert np.array_equal(np.concatenate([begun, restored.codes(2395)], axis=1), whole)
    arrays = dict(np.load(tmp_path / "saved.npz"))
    text = str(arrays["metadata"])
    for change, says in (
        ({"surprise": np.array([0.0, np.nan])}, "surprise is not finite"),
        ({"harmonicity": np.array([0.0, np.inf])}, "harmonicity is not finite"),
        ({"silent": np.zeros(3, np.int64)}, "silent does not fit"),
        ({"recent": np.zeros((2, 15))}, "recent does not fit"),
        ({"metadata": np.array(re.sub('"candidates":3', '"candidates":0', text))}, "candidates"),
        ({"metadata": np.array(re.sub('"candidates":3', '"candidates":65', text))}, "candidates"),
        ({"metadata": np.array(re.sub('"restart":true', '"restart":2', text))}, "restart"),
    ):
        np.savez(tmp_path / "saved.npz", **{**arrays, **change})
        with pytest.raises(UserError, match=says):
            Sampler.restore(tmp_path / "saved.npz", strict)


def test_candidates_surprise_less(strict: Bundle) -> None:
    bits = []
    for candidates in (1, 2, 8):
        sampler = _sampler(strict, 4, candidates=candidates, restart=False)
        sampler.codes(16 * BLOCK)
        bits.append(float(sampler.bits.mean()))
    assert bits[0] > bits[1] > bits[2]


def test_the_likelihoods_are_those_of_what_was_chosen(strict: Bundle) -> None:
    """Drawn again by a plain sampler that hears the clip, a clip has the bits that it was said to have."""
    sampler = _sampler(strict, candidates=4, restart=False)
    drawn = sampler.codes(2 * BLOCK)
    first, second = (
        [_block(strict, seed_candidate, drawn[:, :at]) for seed_candidate in range(4)] for at in (0, BLOCK)
    )
    bits = 0.0
    for at, candidates in ((0, first), (BLOCK, second)):
        (match,) = [one for one in candidates if np.array_equal(one.codes, drawn[:, at : at + BLOCK])]
        assert float(match.nll.mean()) == min(float(one.nll.mean()) for one in candidates)
        bits += float(match.nll.mean(dtype=np.float64)) / math.log(2) / 2
    assert sampler.bits[0] == pytest.approx(bits, abs=1e-5)


def _block(bundle: Bundle, candidate: int, before: np.ndarray) -> Generated:
    """Return a candidate of the block that follows what was drawn before, by stepping an engine by hand."""
    runner = Engine(bundle, OnnxCpu()).runner(4)
    if before.size:
        runner.prefill(np.repeat(before, 4, axis=0))
    uniform = Uniforms(0, [0], before.shape[1], candidates=4).next(BLOCK)
    ones = np.ones((4, BLOCK // bundle.manifest.top_hop), np.float32)
    drawn = runner.generate(uniform, ones, 0.0)
    return drawn.select(slice(candidate, candidate + 1))


def test_candidates_have_uniforms_of_their_own() -> None:
    whole = Uniforms(7, [3, 5], candidates=3).next(50)
    assert np.array_equal(whole[[0, 3]], Uniforms(7, [3, 5]).next(50))
    assert np.array_equal(Uniforms(7, [3, 5], 17, candidates=3).next(33), whole[:, 17:])
    assert len({tuple(row) for row in whole}) == 6


def test_a_silent_clip_begins_anew(bundle: Bundle) -> None:
    """Everything is under 0 dB: after every block it begins anew, with the block's own uniforms."""
    recorded = Recorded(surprise=64, harmonicity=0.0, silence=0.0, pause=0.064, variation=0.0)
    drawn = _sampler(keeping_to(bundle, recorded), candidates=1).codes(3 * BLOCK)
    engine = Engine(bundle, OnnxCpu())
    ones = np.ones((2, BLOCK // bundle.manifest.top_hop), np.float32)
    for at in range(0, 3 * BLOCK, BLOCK):
        uniform = np.repeat(Uniforms(0, [0], at).next(BLOCK), 2, axis=0)
        again_ = engine.runner(2).generate(uniform, ones, 0.0).codes[:1]
        assert np.array_equal(again_, drawn[:, at : at + BLOCK])


def test_decisions_by_hand(bundle: Bundle) -> None:
    """Blocks of 1,024 samples, of a quarter of a second of 4,000."""
    recorded = Recorded(surprise=4.0, harmonicity=0.0, silence=-30.0, pause=0.13, variation=0.0)
    steering = Steering(recorded, 2, 3, True, bundle.manifest)
    assert steering.block == BLOCK
    loud, silent = np.array([0, 255] * (BLOCK // 2), np.int32), np.full(BLOCK, 128, np.int32)

    def decide(bits: list[float], codes: list[np.ndarray]) -> tuple[list[int], list[bool]]:
        nll = np.repeat(np.array(bits, np.float32)[:, np.newaxis] * np.float32(math.log(2)), BLOCK, axis=1)
        rows, anew = steering.choose(Generated(np.stack(codes), nll))
        return rows.tolist(), anew.tolist()

    weight = BLOCK / 4000
    # The first clip takes the first of those that are not over the range; the second the one that is least over it.
    assert decide([3.9, 2, 1, 30, 28, 29], [loud] * 6) == ([0, 4], [False, False])
    assert steering.surprise == pytest.approx([4 - 0.1 * weight, 4 + 24 * weight], abs=1e-5)
    assert decide([5, 4, 4, 4, 3, 2], [loud] * 6) == ([1, 5], [False, False])
    # Silent is what is chosen, for two blocks together.
    assert decide([1] * 6, [silent, loud, loud, loud, silent, silent]) == ([0, 3], [False, False])
    assert decide([1] * 6, [silent, loud, loud, silent, loud, loud]) == ([0, 3], [True, False])
    assert decide([1] * 6, [silent] * 6) == ([0, 3], [False, True])
    assert decide([1] * 6, [loud] * 6) == ([0, 3], [False, False])
    assert steering.silent.tolist() == [0, 0]


def test_what_repeats_is_preferred(bundle: Bundle) -> None:
    """Of candidates that surprise alike, one that repeats as recordings do goes on; silence says nothing."""
    recorded = Recorded(surprise=4.0, harmonicity=0.9, silence=-30.0, pause=1.0, variation=0.0)
    steering = Steering(recorded, 1, 3, False, bundle.manifest)
    codec, generator = bundle.manifest.codec, np.random.default_rng(0)
    noise = codec.encode(generator.normal(0, 0.1, BLOCK).astype(np.float32))
    tone = codec.encode((0.3 * np.sin(2 * np.pi * 440 * np.arange(BLOCK) / 16_000)).astype(np.float32))
    silent = np.full(BLOCK, codec.silence, np.int32)

    def decide(bits: list[float], codes: list[np.ndarray]) -> int:
        nll = np.repeat(np.array(bits, np.float32)[:, np.newaxis] * np.float32(math.log(2)), BLOCK, axis=1)
        rows, _ = steering.choose(Generated(np.stack(codes), nll))
        return int(rows[0])

    weight = BLOCK / 4000
    assert decide([4, 4, 4], [tone, noise, silent]) == 0 and steering.harmonicity[0] > 0.9
    steering.harmonicity[:] = 0.9
    assert decide([4, 4, 4], [noise, silent, tone]) == 1 and steering.harmonicity[0] == 0.9
    beside_zero = codec.encode(generator.normal(0.4, 0.05, BLOCK).astype(np.float32))
    assert decide([4, 4, 4], [beside_zero, silent, tone]) == 1  # an offset does not repeat
    assert decide([4, 4, 4], [noise, noise, noise]) == 0
    too_little = 0.9 - steering.harmonicity[0]
    assert 0.75 * weight < too_little < 0.9 * weight  # of noise it is about 0.1
    # A tone is then worth the more surprise that noise would cost, and no more.
    costs = HARMONICITY_BITS * (1 - 0.1)
    before = steering.surprise.copy(), steering.harmonicity.copy()
    for more, chosen in ((0.8 * costs, 1), (1.2 * costs, 0)):
        steering.surprise, steering.harmonicity = before[0].copy(), before[1].copy()
        assert decide([4, 4 + more, 50], [noise, tone, noise]) == chosen


def test_a_clip_that_does_not_change_begins_anew(bundle: Bundle) -> None:
    """A second is 16 blocks."""
    recorded = Recorded(surprise=4.0, harmonicity=0.0, silence=-200.0, pause=1.0, variation=0.2)
    for restart in (True, False):
        steering = Steering(recorded, 2, 1, restart, bundle.manifest)
        began = []
        for block in range(33):
            bits = np.array([2 + 0.19 * (-1) ** block, 2 + 0.21 * (-1) ** block], np.float32)
            nll = np.repeat(bits[:, np.newaxis] * np.float32(math.log(2)), BLOCK, axis=1)
            _, anew = steering.choose(Generated(np.full((2, BLOCK), 200, np.int32), nll))
            began.append(anew.tolist())
            assert not anew[0] or steering.surprise[0] == recorded.surprise
        assert [block for block, (still, _) in enumerate(began) if still] == ([15, 31] if restart else [])
        assert not any(changing for _, changing in began)


def test_a_sampler_leaves_what_does_not_change(bundle: Bundle, tmp_path: Path) -> None:
    """Where a second always varies too little, a clip begins anew every second, and a saved one goes on exactly."""
    limited = keeping_to(bundle, Recorded(surprise=64, harmonicity=0.0, silence=-200, pause=1, variation=64))
    whole = _sampler(limited, 2).codes(20 * BLOCK)
    assert np.array_equal(_sampler(limited, [5, 1]).codes(20 * BLOCK)[1], whole[1])
    plain = _sampler(limited, 2, restart=False).codes(20 * BLOCK)
    assert np.array_equal(whole[:, : 16 * BLOCK], plain[:, : 16 * BLOCK])
    assert not np.array_equal(whole, plain)
    sampler = _sampler(limited, 2)
    begun = sampler.codes(9 * BLOCK + 100)
    sampler.save(tmp_path / "saved.npz")
    restored = Sampler.restore(tmp_path / "saved.npz", limited, engine=Engine(limited, OnnxCpu()))
    assert np.array_equal(np.concatenate([begun, restored.codes(11 * BLOCK - 100)], axis=1), whole)


def test_the_bundle_says_what_recordings_do(bundle: Bundle) -> None:
    recorded = bundle.manifest.recorded
    assert recorded is not None and 0 < recorded.surprise < 8 and recorded.pause == 0.5
    content = bundle.manifest.model_dump(mode="json")
    fine = recorded.model_dump(mode="json")
    for wrong in (
        {"surprise": -1},
        {"surprise": "NaN"},
        {"harmonicity": -0.1},
        {"harmonicity": 1.1},
        {"silence": 1},
        {"pause": 0},
        {"pause": "inf"},
        {"variation": -0.1},
        {"variation": 65},
        {"more": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Manifest.model_validate({**content, "recorded": {**fine, **wrong}})
    assert Manifest.model_validate({**content, "recorded": None}).recorded is None


def test_the_recipe_of_a_clip_says_how_it_was_drawn(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    spec = ClipSpec(tmp_path / "clip.wav", 0)
    for candidates, restart in ((1, False), (2, True)):
        options = RenderOptions(0.1, 0, candidates=candidates, restart=restart)
        ((_, sidecar),) = render(bundle, engine, [spec], options).clips
        assert (sidecar.recipe.candidates, sidecar.recipe.restart) == (candidates, restart)
        words = shlex.split(again("bundle", engine, options, spec, 0.1))
        assert words[words.index("--candidates") + 1] == str(candidates)
        assert ("--no-restart" in words) is not restart
    without = keeping_to(bundle, None)
    ((_, sidecar),) = render(without, Engine(without, OnnxCpu()), [spec], RenderOptions(0.1, 0)).clips
    assert (sidecar.recipe.candidates, sidecar.recipe.restart) == (1, False)
