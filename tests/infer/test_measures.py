"""Failed clips are recognised, and music is not mistaken for them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_infer.audio.clip_blocks import open_clip
from slash_infer.audio.measures import Meter, measure
from slash_infer.codec import Codec
from slash_train.guitar import improvise

RATE = 16_000
T = np.arange(4 * RATE) / RATE
RNG = np.random.default_rng(0)
FAILED = {
    "silence": {"digital": 0 * T, "hum": 1e-3 * np.sin(300 * T), "empty": np.zeros(0)},
    "noise": {"white": 0.1 * RNG.standard_normal(len(T)), "loud": RNG.uniform(-1, 1, len(T))},
    "held tone": {
        "sine": 0.3 * np.sin(2 * np.pi * 220 * T),
        "square": 0.3 * np.sign(np.sin(2 * np.pi * 220 * T)),
        "struck and held": (0.3 * np.exp(-8 * T) + 0.02) * np.sin(2 * np.pi * 220 * T),
        "chord": 0.2 * np.sin(2 * np.pi * 220 * T) + 0.2 * np.sin(2 * np.pi * 331 * T),
    },
}
CASES = [(fault, name) for fault, named in FAILED.items() for name in named]


@pytest.mark.parametrize(("fault", "name"), CASES)
def test_failures_are_named_and_score_low(fault: str, name: str) -> None:
    heard = Codec().decode(Codec().encode(FAILED[fault][name]))  # with the codec's own noise
    found = measure(heard, RATE)
    assert found.faults == (fault,)
    assert found.score < 0.2


@pytest.mark.parametrize("take", range(3))
def test_synthetic_guitar_is_sound(take: int) -> None:
    found = measure(improvise(4.0, [5, take])[::3], RATE)
    assert found.faults == () and found.score > 0.5


def test_real_solos_are_sound(shared_audio: Path) -> None:
    for solo in sorted((shared_audio / "solos").glob("*.flac")):
        samples, rate = soundfile.read(solo, stop=20 * RATE)
        for excerpt in np.split(samples, 4):
            found = measure(excerpt, rate)
            assert found.faults == () and found.score > 0.4, solo


def test_the_numbers_are_what_they_are_called() -> None:
    half_silent = np.concatenate([0.5 * np.sin(440 * T), 0 * T])
    found = measure(half_silent, RATE)
    assert found.silent == pytest.approx(0.5, abs=0.02)
    assert found.level_db == pytest.approx(20 * np.log10(0.5 / 2), abs=0.1)
    white: npt.NDArray[np.float64] = 0.1 * RNG.standard_normal(len(T))
    assert measure(white, RATE).flatness == pytest.approx(np.exp(-np.euler_gamma), abs=0.02)


def test_a_model_that_is_surprised_scores_less() -> None:
    guitar = improvise(2.0, [6])[::3]
    scores = [measure(guitar, RATE, surprise).score for surprise in (0.0, 0.5, -1.0, 2.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == pytest.approx(scores[0] / 2)
    assert measure(guitar, RATE).score == scores[0]


def test_short_clips_can_be_measured() -> None:
    assert measure(improvise(0.05, [1])[::3], RATE).faults == ()
    assert measure(np.zeros(1), RATE).faults == ("silence",)


def test_measures_are_finite_whatever_a_float_file_holds(tmp_path: Path) -> None:
    samples = np.full((RATE, 2), 1e300)
    samples[5] = np.inf, -np.inf
    soundfile.write(tmp_path / "loud.wav", samples, RATE, subtype="DOUBLE")
    meter = Meter(RATE)
    with open_clip(tmp_path / "loud.wav") as clip:
        for block in clip:
            meter.add(block)
    measures = meter.measures()
    assert np.isfinite([measures.level_db, measures.flatness, measures.movement_db, measures.score]).all()
