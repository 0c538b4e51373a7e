"""The generation loop: what a clip does and does not depend on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.bench import measure
from slash_infer.bundle import Bundle
from slash_infer.codec import to_pcm16
from slash_infer.engine import Engine
from slash_infer.files import read_json
from slash_infer.render import Piece, Terms, render
from slash_infer.sampler import Sampler
from slash_infer.temperature import Schedule


def test_clip_k_alone_equals_clip_k_in_a_batch(bundle: Bundle, engine: Engine) -> None:
    together = Sampler(bundle, range(9), seed=5, engine=engine).codes(2000)
    for clip in (0, 4, 8):
        assert np.array_equal(Sampler(bundle, [clip], seed=5, engine=engine).codes(2000)[0], together[clip])


def test_a_clip_does_not_depend_on_how_it_is_asked_for(bundle: Bundle, engine: Engine) -> None:
    whole = Sampler(bundle, [0, 1], seed=2, engine=engine).codes(500)
    pieces = Sampler(bundle, [0, 1], seed=2, engine=engine)
    assert np.array_equal(np.concatenate([pieces.codes(n) for n in (1, 15, 16, 17, 0, 451)], axis=1), whole)


def test_clips_and_seeds_differ(bundle: Bundle, engine: Engine) -> None:
    a = Sampler(bundle, [0, 1], seed=0, engine=engine).codes(400)
    b = Sampler(bundle, [0], seed=1, engine=engine).codes(400)
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], b[0])


def test_the_state_is_carried_between_frames(bundle: Bundle, engine: Engine) -> None:
    """Overwriting the LSTM state at every frame must change the audio: otherwise it would not matter."""
    carried = Sampler(bundle, [0], seed=0, engine=engine)
    forgetful = Sampler(bundle, [0], seed=0, engine=engine)
    expected, made = [], []
    for _ in range(40):
        for state in (state for tier in forgetful._players[0]._states for state in tier):
            for array in state.values():
                array[...] = 0.5
        made.append(forgetful.codes(bundle.manifest.top_frame))
        expected.append(carried.codes(bundle.manifest.top_frame))
    assert not np.array_equal(np.concatenate(made), np.concatenate(expected))


def test_a_low_temperature_is_likelier_and_a_high_one_wilder(bundle: Bundle, engine: Engine) -> None:
    def roughness(temperature: float) -> float:
        made = Sampler(bundle, range(4), seed=0, temperature=temperature, engine=engine).generate(0.25)
        return float(np.abs(np.diff(made, axis=1)).mean())

    assert roughness(0.2) < roughness(1.0) < roughness(5.0)


def test_audio_is_float32_in_range_and_as_long_as_asked(bundle: Bundle, engine: Engine) -> None:
    made = Sampler(bundle, [0, 1], engine=engine).generate(0.1)
    assert made.shape == (2, 1600) and made.dtype == np.float32
    assert np.abs(made).max() <= 1.0
    assert [block.shape for block in Sampler(bundle, [0], engine=engine).stream(0.6)] == [
        (1, 4000),
        (1, 4000),
        (1, 1600),
    ]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_files_hold_what_the_sampler_makes(bundle: Bundle, engine: Engine, tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{i}{suffix}" for i in range(18)]  # more than one batch
    pieces = [Piece(file, i, Schedule.constant(0.9)) for i, file in enumerate(files)]
    render(bundle, engine, pieces, Terms(seconds=0.05, seed=9))
    expected = Sampler(bundle, [17], seed=9, temperature=0.9, engine=engine).generate(0.05)[0]
    heard, rate = soundfile.read(files[17], dtype="int16")
    assert rate == bundle.manifest.sample_rate
    assert np.array_equal(heard, to_pcm16(expected))
    sidecar = read_json(tmp_path / "17.json", "a sidecar")
    assert (sidecar["seed"], sidecar["clip"], sidecar["temperature"]) == (9, 17, 0.9)
    assert len(list(tmp_path.iterdir())) == 36


def test_speed_is_measured_per_clip_and_per_batch(bundle: Bundle, engine: Engine) -> None:
    one, four = measure(bundle, [1, 4], engine, seconds=0.02, runs=3)
    assert one.realtime_clip == one.realtime_batch > 0
    assert four.realtime_batch == pytest.approx(4 * four.realtime_clip)
    assert four.slowest <= four.samples_per_second <= four.fastest
