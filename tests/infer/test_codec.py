"""The codec, checked on every code and every int16."""

import math

import numpy as np
import pytest

from slash_infer.codec import Codec, to_pcm16

CODECS = [
    Codec(kind=kind, levels=levels) for kind in ("mu-law", "linear") for levels in (2, 3, 255, 256, 1024, 65536)
]
EVERY_PCM = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_every_code_survives_the_round_trip(codec: Codec) -> None:
    codes = np.arange(codec.levels, dtype=np.int32)
    assert np.array_equal(codec.encode(codec.decode(codes)), codes)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_every_int16_goes_to_the_nearest_code(codec: Codec) -> None:
    samples = EVERY_PCM / 32768
    codes = codec.encode_pcm16(EVERY_PCM)
    assert np.array_equal(codes, codec.encode(samples))
    assert codes.min() >= 0 and codes.max() <= codec.levels - 1
    assert (np.diff(codes) >= 0).all()
    warped = np.vectorize(lambda x: _compress(x, codec))
    steps = (warped(samples) - warped(codec.decode(codes).astype(np.float64))) / 2 * (codec.levels - 1)
    assert np.abs(steps).max() <= 0.5 + 1e-3  # half a step, on the scale where codes are evenly spaced


def test_mu_law_is_the_formula_of_g711() -> None:
    codec = Codec(levels=256)
    for code in range(256):
        y = 2 * code / 255 - 1
        expected = math.copysign((256 ** abs(y) - 1) / 255, y)
        assert codec.decode(code) == pytest.approx(expected, abs=1e-7)


def test_ends_of_the_range_are_codes() -> None:
    for codec in CODECS:
        assert codec.encode([-1.0, 1.0]).tolist() == [0, codec.levels - 1]
        assert codec.encode([-7.0, 7.0]).tolist() == [0, codec.levels - 1]
        assert codec.decode([0, codec.levels - 1]).tolist() == [-1.0, 1.0]


def test_silence_decodes_to_next_to_nothing() -> None:
    codec = Codec()
    assert codec.silence == 128
    assert abs(codec.decode(codec.silence)) < 1e-4


def test_what_no_code_can_stand_for_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Codec().encode([0.0, math.nan])
    for code in (-1, 256):
        with pytest.raises(ValueError, match="codes must be in"):
            Codec().decode([code])


def _compress(x: float, codec: Codec) -> float:
    if codec.kind == "linear":
        return x
    mu = codec.levels - 1
    return math.copysign(math.log1p(mu * abs(x)) / math.log1p(mu), x)


def test_codecs_that_were_used_still_compare() -> None:
    codec = CODECS[0]
    codec.encode_pcm16(EVERY_PCM)
    assert codec == Codec(kind=codec.kind, levels=codec.levels)
    assert codec != CODECS[-1]


def test_pcm_is_the_nearest_and_clipped_at_the_ends() -> None:
    assert to_pcm16(np.array([-2.0, -1.0, 0.0, 0.6 / 32768, 1.0])).tolist() == [-32768, -32768, 0, 1, 32767]
    assert np.array_equal(to_pcm16(EVERY_PCM / 32768), EVERY_PCM)
