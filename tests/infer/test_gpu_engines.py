"""Engines on a GPU compute what the CPU does and draw the same codes."""

import numpy as np
import pytest

from slash_export.verify import Verdict, verify
from slash_infer.bundle import Bundle
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import find_runtimes, runtime_named
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler

REASONS = {name: str(found) for name, found in find_runtimes() if isinstance(found, Unavailable)}
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(name in REASONS, reason=f"gpu: {REASONS.get(name)}"))
    for name in ("cuda", "tensorrt")
]
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ENGINES)
def test_it_agrees_with_the_cpu(bundle: Bundle, name: str) -> None:
    verdicts = verify(bundle, [runtime_named(name)])
    assert {verdict.precision for verdict in verdicts} == {"fp32", "fp16"}
    for verdict in verdicts:
        assert isinstance(verdict, Verdict) and verdict.fault is None, verdict


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("clips", [1, 3, 16])
def test_frames_of_any_batch_follow_one_another(bundle: Bundle, name: str, clips: int) -> None:
    """Generated in parts, and at once by a second sampler of the same engine."""
    engine = Engine(bundle, runtime_named(name))
    sampler = Sampler(bundle, range(clips), engine=engine)
    in_parts = np.concatenate([sampler.codes(n) for n in (1, 15, 16, 480)], axis=1)
    assert np.array_equal(in_parts, Sampler(bundle, range(clips), engine=engine).codes(512))
