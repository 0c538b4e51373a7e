"""What is drawn is held to a surprise by lowering the temperature."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from slash_cli.again import again
from slash_infer.bundle import Bundle
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.errors import UserError
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_infer.sampling.surprise import GAIN, LEAST, SurpriseControl

STRICT = 1.0
"""Bits/sample: far less than what the tiny model draws."""


def test_a_clip_comes_out_the_same_in_any_lengths_and_beside_any_others(bundle: Bundle, engine: Engine) -> None:
    whole = Sampler(bundle, 3, surprise=STRICT, engine=engine).codes(2000)
    assert not np.array_equal(whole, Sampler(bundle, 3, surprise=None, engine=engine).codes(2000))
    sampler = Sampler(bundle, 3, surprise=STRICT, engine=engine)
    lengths = (1, 255, 1, 16, 700, 16, 1011)
    assert np.array_equal(np.concatenate([sampler.codes(length) for length in lengths], axis=1), whole)
    assert np.array_equal(Sampler(bundle, [2, 9], surprise=STRICT, engine=engine).codes(2000)[0], whole[2])


def test_a_saved_sampler_goes_on_exactly(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    whole = Sampler(bundle, 2, surprise=STRICT, engine=engine).codes(2000)
    sampler = Sampler(bundle, 2, surprise=STRICT, engine=engine)
    begun = sampler.codes(805)  # within a block, and within a step
    sampler.save(tmp_path / "saved.npz")
    restored = Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine)
    assert restored.surprise == STRICT
    assert np.array_equal(np.concatenate([begun, restored.codes(1195)], axis=1), whole)
    arrays = dict(np.load(tmp_path / "saved.npz"))
    text = str(arrays["metadata"])
    for change, says in (
        ({"surprise.mean": np.array([0.0, np.nan])}, "surprise\\.mean is not finite"),
        ({"surprise.sum": np.zeros(3, np.int64)}, "surprise\\.sum does not fit"),
        ({"metadata": np.array(re.sub('"surprise":[^,]*', '"surprise":-1', text))}, "surprise"),
    ):
        np.savez(tmp_path / "saved.npz", **{**arrays, **change})
        with pytest.raises(UserError, match=says):
            Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine)


def test_less_surprise_is_drawn(bundle: Bundle, engine: Engine) -> None:
    def bits(surprise: float) -> float:
        sampler = Sampler(bundle, 4, surprise=surprise, engine=engine)
        sampler.codes(8000)
        return float(sampler.bits.mean())

    least, some, most = bits(0.0), bits(6.0), bits(16.0)
    assert least < some - 0.1 and some <= most


def test_what_is_never_reached_changes_nothing(bundle: Bundle, engine: Engine) -> None:
    off = Sampler(bundle, 2, surprise=None, engine=engine).codes(1000)
    assert np.array_equal(Sampler(bundle, 2, surprise=16.0, engine=engine).codes(1000), off)


def test_the_temperature_follows_the_mean(bundle: Bundle) -> None:
    """By hand: blocks of 256 samples, of a quarter of a second of 4,000."""
    control = SurpriseControl(3.0, 2, bundle.manifest)
    assert control.room(0) == control.room(256) == 256 and control.room(500) == 12
    assert control.factors.tolist() == [1, 1]
    drawn = np.array([[5.0], [1.0]], np.float32) * np.log(2)
    control.hear(np.repeat(drawn, 100, axis=1), 100)
    assert control.factors.tolist() == [1, 1]  # until the block ends
    control.hear(np.repeat(drawn, 156, axis=1), 256)
    over = 2 * 256 / 4000
    assert control.mean == pytest.approx([3 + over, 3 - over], abs=1e-5)
    assert control.factors == pytest.approx([1 - GAIN * over, 1], abs=1e-5)
    for generated in range(512, 20_000, 256):
        control.hear(np.repeat(drawn * 10, 256, axis=1), generated)
    assert control.factors.tolist() == [LEAST, LEAST]


def test_the_recipe_of_a_clip_has_its_target(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    spec = ClipSpec(tmp_path / "clip.wav", 0)
    for surprise in (None, 2.5):
        options = RenderOptions(0.1, 0, surprise=surprise)
        ((_, sidecar),) = render(bundle, engine, [spec], options).clips
        assert sidecar.recipe.surprise == surprise
        words = shlex.split(again("bundle", engine, options, spec, 0.1))
        assert words[words.index("--surprise") :][1:2] == ["2.5"] if surprise else "--surprise" not in words
