"""docs/bundle-format.md is enough to write a sampler from, and its worked example is correct."""

import re
from typing import Any

import numpy as np
import pytest
from other_recordings import keeping_to
from plain_sampler import PlainSampler
from worked_example import BUNDLE, CLIP, FLOOR, SEED, committed_example, worked_example

from slash_infer.bundle import Bundle, Recorded
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize("floor", [0.0, 0.003])
def test_a_sampler_written_from_the_document_makes_the_same_audio(
    bundle: Bundle, engine: Engine, floor: float
) -> None:
    plain = PlainSampler(bundle.path, seed=3, clips=[0, 7], floor=floor)
    for _ in range(50):
        plain.frame()
    plainly: dict[str, Any] = {"temperature": 1.0, "candidates": 1, "restart": False}
    sampler = Sampler(bundle, [0, 7], seed=3, floor=floor, engine=engine, **plainly)
    codes = sampler.codes(50 * bundle.manifest.top_hop)
    assert np.array_equal(plain.codes[:, bundle.manifest.context :], codes)


@pytest.mark.parametrize(
    "recorded",
    [
        Recorded(surprise=3.0, harmonicity=0.0, silence=-200.0, pause=0.13, variation=0.0),
        Recorded(surprise=6.0, harmonicity=0.0, silence=-15.0, pause=0.13, variation=0.0),
        Recorded(surprise=64.0, harmonicity=0.0, silence=0.0, pause=0.13, variation=0.0),
        Recorded(surprise=64.0, harmonicity=0.0, silence=-200.0, pause=0.13, variation=64.0),
        Recorded(surprise=64.0, harmonicity=1.0, silence=-200.0, pause=0.13, variation=0.0),
        Recorded(surprise=5.0, harmonicity=0.4, silence=-20.0, pause=0.13, variation=0.01),
    ],
)
def test_candidates_as_the_document_has_them(bundle: Bundle, recorded: Recorded) -> None:
    plain = PlainSampler(bundle.path, seed=3, clips=[7] * 4, floor=0.0)
    expected = plain.candidates(recorded.model_dump(), blocks=20)
    other = keeping_to(bundle, recorded)
    sampler = Sampler(other, [7], seed=3, temperature=1.0, candidates=4, engine=Engine(other, OnnxCpu()))
    codes = sampler.codes(len(expected))
    assert np.array_equal(codes[0], expected)


def test_the_worked_example_is_what_the_example_bundle_does() -> None:
    committed, computed = committed_example(), worked_example()
    assert NUMBER.sub("#", committed) == NUMBER.sub("#", computed)
    numbers = [np.array(NUMBER.findall(text), float) for text in (committed, computed)]
    assert len(numbers[0]) > 100
    assert np.abs(numbers[0] - numbers[1]).max() <= 2e-6  # the last digit may round differently elsewhere


def test_slash_agrees_with_the_worked_example() -> None:
    bundle = Bundle(BUNDLE)
    sampler = Sampler(bundle, [CLIP], seed=SEED, temperature=1.0, floor=FLOOR, engine=Engine(bundle, OnnxCpu()))
    codes = sampler.codes(4)
    assert f"codes made: {' '.join(map(str, codes[0]))}" in committed_example()
