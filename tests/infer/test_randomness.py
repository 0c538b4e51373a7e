"""Uniforms: compared with an independent Philox, and independent of batch and chunk sizes."""

import numpy as np
import pytest

from slash_infer.errors import UserError
from slash_infer.sampling.randomness import Uniforms

MASK = 2**64 - 1


def _philox(key: tuple[int, int], counter: int) -> list[int]:
    """Return the four words of Philox4x64-10 for one counter value, computed as published in plain integers."""
    x = [counter, 0, 0, 0]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(p1 >> 64) ^ x[1] ^ k0, p1 & MASK, (p0 >> 64) ^ x[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return x


def test_uniforms_are_philox_words() -> None:
    uniforms = Uniforms(7, [3]).next(12)[0]
    words = [word for counter in (1, 2, 3) for word in _philox((7, 3), counter)]
    assert uniforms.tolist() == [((word >> 42) + 0.5) / 2**22 for word in words]


def test_uniforms_do_not_depend_on_batch_or_chunks() -> None:
    together = Uniforms(1, [0, 1, 2]).next(100)
    single = Uniforms(1, [1])
    assert np.array_equal(np.concatenate([single.next(n) for n in (1, 6, 16, 77)], axis=1), together[1:2])


def test_uniforms_fill_the_open_interval_evenly() -> None:
    uniforms = Uniforms(0, range(4)).next(50_000)
    assert uniforms.dtype == np.float32
    assert uniforms.min() > 0 and uniforms.max() < 1
    counts, _ = np.histogram(uniforms, bins=100, range=(0, 1))
    assert (np.abs(counts - 2000) < 6 * 2000**0.5).all()


def test_extreme_words_stay_inside_the_interval() -> None:
    for k in (0, 2**22 - 1):
        u = np.float32((k + 0.5) / 2**22)
        for total in (np.float32(0.9999997), np.float32(1), np.float32(1.0000002)):
            assert 0 < u * total < total


def test_keys_out_of_range_are_refused() -> None:
    for seed in (-1, 2**64):
        with pytest.raises(UserError, match="from 0 to"):
            Uniforms(seed, [0])
