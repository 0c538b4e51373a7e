"""What recordings score, what a bundle keeps of it, and how near clips are to them."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from pydantic import ValidationError

from slash_infer.audio.ear.hearing import hear
from slash_infer.audio.ear.recordings import Recordings, measure_recordings
from slash_infer.audio.ear.source import RATE, Source, source_of
from slash_train.guitar import improvise

Float64 = npt.NDArray[np.float64]
TIME = np.arange(10 * RATE) / RATE
FAILED = {
    "silence": 0 * TIME,
    "white noise": 0.1 * np.random.default_rng(0).standard_normal(len(TIME)),
    "a hum": 0.001 * np.sin(2 * np.pi * 50 * TIME),
    "a sine": 0.3 * np.sin(2 * np.pi * 220 * TIME),
    "a sawtooth": 0.3 * (2 * ((220.3 * TIME) % 1) - 1),
    "a chord": sum((0.1 * np.sin(2 * np.pi * hertz * TIME) for hertz in (196, 247, 294)), 0 * TIME),
}


def takes(count: int, seconds: float, seed: int = 0) -> list[Source]:
    made = [improvise(seconds, [seed, i])[::3].astype(np.float64) for i in range(count)]
    return [source_of(f"take {i}", take) for i, take in enumerate(made)]


@pytest.fixture(scope="module", name="guitar")
def _guitar() -> Recordings:
    recordings = measure_recordings(takes(5, 24))
    assert recordings is not None
    return recordings


@pytest.mark.parametrize("name", FAILED)
def test_failures_are_far_from_recordings_and_other_takes_near(guitar: Recordings, name: str) -> None:
    others = [guitar.nearness(hear(take)) for take in takes(4, 10, seed=1)]
    assert guitar.nearness(hear(source_of(name, FAILED[name]))) < 0.5 * min(others)
    assert min(others) > 0 and max(others) <= 1


def test_the_values_are_those_of_the_recordings(guitar: Recordings) -> None:
    heard = [hear(take) for take in takes(5, 24)]
    assert (guitar.count, guitar.stretches) == (5, 10)
    assert guitar.seconds == pytest.approx(sum(one.seconds for one in heard))
    for name in ("harmonicity", "stuck", "onsets", "centroid", "level_db"):
        assert getattr(guitar, name) == pytest.approx(np.mean([getattr(one, name) for one in heard]))
    assert guitar.distance is not None and 0 < guitar.distance < guitar.spreads.distance.mean


def test_recordings_of_many_lengths_can_be_measured() -> None:
    lengths = (0.0, 0.01, 0.9, 1.1, 3.0, 12.0)
    take = improvise(20.0, [7])[::3].astype(np.float64)
    mixed = [source_of(str(length), take[: round(length * RATE)]) for length in lengths]
    found = measure_recordings(mixed)
    assert found is not None and found.count == 6 and found.stretches == 3
    single = measure_recordings(mixed[5:])
    assert single is not None and single.distance is None and single.spreads.distance.mean > 0
    assert measure_recordings(mixed[:4]) is None  # one segment
    assert measure_recordings(mixed[:1]) is None


def test_silent_recordings_have_values_that_are_finite() -> None:
    silent = measure_recordings([source_of("silence", 0 * TIME), source_of("silence too", 0 * TIME)])
    assert silent is not None and silent.stuck == 1 and silent.harmonicity == 0
    assert silent.nearness(hear(source_of("silence", 0 * TIME))) == pytest.approx(1)
    assert 0 < silent.nearness(hear(source_of("noise", FAILED["white noise"]))) < 0.1


def test_values_are_stored_compactly_and_come_back_the_same(guitar: Recordings) -> None:
    stored = guitar.model_dump_json()
    assert len(stored) < 60_000
    again = Recordings.model_validate_json(stored)
    heard = hear(takes(1, 10, seed=2)[0])
    assert again == guitar and again.nearness(heard) == guitar.nearness(heard)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("harmonicity", float("nan")),
        ("mean", [0.0] * 119),
        ("scale", [0.0] * 120),
        ("variances", [-1.0] * 24),
        ("variances", [1.0]),
        ("components", []),
        ("components", [[float("inf")] * 120] * 24),
        ("count", 0),
        ("seconds", -1.0),
        ("spreads", {}),
        ("surprise", 1),
    ],
)
def test_values_that_none_can_be_are_refused(guitar: Recordings, name: str, value: object) -> None:
    content = json.loads(guitar.model_dump_json()) | {name: value}
    with pytest.raises(ValidationError, match=name):
        Recordings.model_validate_json(json.dumps(content))


def test_real_recordings_rank_above_failures(shared_audio: Path) -> None:
    solos = {path.stem: soundfile.read(path)[0] for path in sorted((shared_audio / "solos").glob("*.flac"))}
    held_out = [solos.pop(f"solo-{i:02d}") for i in (3, 6, 8)]
    learned = measure_recordings([source_of(name, samples) for name, samples in solos.items()])
    assert learned is not None
    real = [
        learned.nearness(hear(source_of("stretch", stretch[: 10 * RATE])))
        for solo in held_out
        for stretch in np.array_split(solo, 6)
    ]
    failed = [learned.nearness(hear(source_of(name, sound))) for name, sound in FAILED.items()]
    assert min(real) > 3 * max(failed) and np.mean(real) == pytest.approx(0.55, abs=0.1)
