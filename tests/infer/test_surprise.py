"""What is drawn is kept as surprising as recordings by the temperature."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from slash_cli.again import again
from slash_infer.bundle import Bundle, Manifest, SurpriseRange
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.errors import UserError
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_infer.sampling.surprise import COLDEST, GAIN, HOTTEST, RECORDINGS, SurpriseControl, as_text, parse

STRICT = SurpriseRange(0.5, 1.0)
"""Bits/sample: far less than what the tiny model draws."""
ANY = SurpriseRange(0.0, 16.0)


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
        ({"metadata": np.array(re.sub(r'"surprise":\[[^]]*\]', '"surprise":[-1,1]', text))}, "surprise"),
        ({"metadata": np.array(re.sub(r'"surprise":\[[^]]*\]', '"surprise":[2,1]', text))}, "surprise"),
        ({"metadata": np.array(re.sub(r'"surprise":\[[^]]*\]', '"surprise":[NaN,1]', text))}, "surprise"),
    ):
        np.savez(tmp_path / "saved.npz", **{**arrays, **change})
        with pytest.raises(UserError, match=says):
            Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine)


def test_what_is_drawn_follows_the_range(bundle: Bundle, engine: Engine) -> None:
    def bits(least: float, most: float) -> float:
        sampler = Sampler(bundle, 4, temperature=0.7, surprise=(least, most), engine=engine)
        sampler.codes(8000)
        return float(sampler.bits.mean())

    low, anything, high = bits(0.0, 0.0), bits(0.0, 16.0), bits(16.0, 16.0)
    assert low < anything - 0.1 and anything < high - 0.1


def test_what_is_never_left_changes_nothing(bundle: Bundle, engine: Engine) -> None:
    off = Sampler(bundle, 2, surprise=None, engine=engine).codes(1000)
    assert np.array_equal(Sampler(bundle, 2, surprise=ANY, engine=engine).codes(1000), off)


def test_the_bundle_says_what_recordings_have(bundle: Bundle, engine: Engine) -> None:
    recordings = bundle.manifest.surprise
    assert recordings is not None and 0 < recordings.least < recordings.most < 8
    assert Sampler(bundle, engine=engine).surprise == Sampler(bundle, surprise=RECORDINGS, engine=engine).surprise
    assert Sampler(bundle, engine=engine).surprise == recordings
    assert RenderOptions(1.0, 0).surprise == RECORDINGS


def test_a_range_in_a_manifest_is_one(bundle: Bundle) -> None:
    content = bundle.manifest.model_dump(mode="json")
    for wrong in ([2, 1], [1], [-1, 2], [1, 17], "recordings", [0, "NaN"]):
        with pytest.raises(ValueError, match="surprise"):
            Manifest.model_validate({**content, "surprise": wrong})
    assert Manifest.model_validate({**content, "surprise": None}).surprise is None


def test_the_temperature_follows_the_mean(bundle: Bundle) -> None:
    """By hand: blocks of 256 samples, of a quarter of a second of 4,000."""
    control = SurpriseControl(SurpriseRange(2.0, 4.0), 3, bundle.manifest)
    assert control.room(0) == control.room(1024) == 1024 and control.room(1000) == 24
    assert control.factors.tolist() == [1, 1, 1]
    drawn = np.array([[16.0], [3.5], [0.0]], np.float32) * np.log(2)
    control.hear(np.repeat(drawn, 1000, axis=1), 1000)
    assert control.factors.tolist() == [1, 1, 1]  # until the block ends
    control.hear(np.repeat(drawn, 24, axis=1), 1024)
    control.hear(np.repeat(drawn, 1024, axis=1), 2048)
    kept = (1 - 1024 / 4000) ** 2
    assert control.mean == pytest.approx([16 - 13 * kept, 3.5 - 0.5 * kept, 3 * kept], abs=1e-5)
    assert control.factors == pytest.approx([COLDEST, 1, 1 + GAIN * (2 - 3 * kept)], abs=1e-5)
    for generated in range(3072, 100_000, 1024):
        control.hear(np.repeat(drawn, 1024, axis=1), generated)
    assert control.factors == pytest.approx([COLDEST, 1, HOTTEST])


def test_ranges_are_read_and_written() -> None:
    assert parse("recordings") == RECORDINGS and parse("off") is None and parse("0:4") == (0, 4)
    for surprise in (None, SurpriseRange(3.125, 5.5), SurpriseRange(0, 0)):
        assert parse(as_text(surprise)) == surprise
    for text in ("", "4", "5:3", "3:5:6", "-1:3", "3:17", "nan:3", "3:nan", "on", ":", "3,5"):
        with pytest.raises(UserError, match=r"^`surprise` .*must be recordings, off, or LEAST:MOST"):
            parse(text)


def test_the_recipe_of_a_clip_has_its_range(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    spec = ClipSpec(tmp_path / "clip.wav", 0)
    for surprise, expected in ((None, None), (STRICT, STRICT), (RECORDINGS, bundle.manifest.surprise)):
        options = RenderOptions(0.1, 0, surprise=surprise)
        ((_, sidecar),) = render(bundle, engine, [spec], options).clips
        assert sidecar.recipe.surprise == expected
        words = shlex.split(again("bundle", engine, options, spec, 0.1))
        assert parse(words[words.index("--surprise") + 1]) == expected
