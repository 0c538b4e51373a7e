"""Each measure of the ear, on sounds whose answer is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_infer.audio.ear.bands import FLOOR_DB, FRAME, HOP
from slash_infer.audio.ear.harmonicity import lags_at, repetition
from slash_infer.audio.ear.hearing import Heard, hear
from slash_infer.audio.ear.moments import Moments, frechet_distance
from slash_infer.audio.ear.reference import Reference
from slash_infer.audio.ear.segments import SEGMENT_SECONDS
from slash_infer.audio.ear.source import RATE, Source, source_of, source_of_clip
from slash_infer.audio.ear.stillness import median_change
from slash_train.guitar import improvise

Float64 = npt.NDArray[np.float64]
RNG = np.random.default_rng(0)


def seconds(length: float) -> Float64:
    return np.arange(round(length * RATE)) / RATE


def sawtooth(length: float, hertz: float = 250.0) -> Float64:
    return np.asarray(0.3 * (2 * ((hertz * seconds(length)) % 1) - 1))


def noise(length: float) -> Float64:
    return 0.1 * np.random.default_rng(1).standard_normal(round(length * RATE))


def clicks(length: float, each: float) -> Float64:
    """Short bursts of noise, so many seconds apart, over very soft noise."""
    sound = 1e-4 * noise(length)
    for start in np.arange(each / 2, length, each):
        burst = slice(round(start * RATE), round(start * RATE) + 200)
        sound[burst] += 0.5 * np.random.default_rng(2).standard_normal(len(sound[burst]))
    return sound


def ear(samples: Float64, rate: int = RATE) -> Heard:
    return hear(source_of("sound", samples, rate))


def numbers(heard: Heard) -> list[float]:
    return [heard.harmonicity, heard.stuck, heard.movement_db, heard.onsets, heard.centroid]


@pytest.mark.parametrize("hertz", [80.0, 250.0, 1000.0])
def test_a_periodic_sound_is_harmonic(hertz: float) -> None:
    assert ear(sawtooth(2, hertz)).harmonicity > 0.999


def test_noise_is_not_harmonic_and_what_is_silent_has_no_harmonicity() -> None:
    assert 0.05 < ear(noise(2)).harmonicity < 0.15
    assert ear(0 * noise(2)).harmonicity == 0
    mixed = ear(sawtooth(2) / np.std(sawtooth(2)) + noise(2) / np.std(noise(2)))
    assert mixed.harmonicity == pytest.approx(0.5, abs=0.05)  # half of the power repeats


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 44_100, 192_000])
def test_periods_are_the_same_at_any_rate(rate: int) -> None:
    """A saw of 100 Hz repeats, and what repeats more slowly than 16 ms does not count."""
    t, length = np.arange(round(0.064 * rate)) / rate, round(0.064 * rate)
    periods = lags_at(rate)
    assert periods.start >= 1 and periods.stop - 1 < length
    for hertz, harmonic in ((100.0, True), (40.0, False)):
        sound = np.sin(2 * np.pi * hertz * t) + np.sin(4 * np.pi * hertz * t)
        assert (repetition(sound[np.newaxis], periods)[0] > 0.97) == harmonic, hertz


def test_harmonicity_is_the_median_over_the_loud_frames() -> None:
    with_a_pause = np.concatenate([sawtooth(2), 0 * seconds(5)])
    assert ear(with_a_pause).harmonicity > 0.999


@pytest.mark.parametrize(("hertz", "expected"), [(440.0, 440.0), (3000.0, 3000.0)])
def test_the_centroid_of_a_tone_is_its_pitch_and_of_white_noise_the_middle(hertz: float, expected: float) -> None:
    assert ear(np.sin(2 * np.pi * hertz * seconds(2))).centroid == pytest.approx(expected, rel=0.01)
    assert ear(noise(4)).centroid == pytest.approx(4000, rel=0.02)


def test_onsets_are_counted_per_second() -> None:
    for each in (0.25, 0.5, 1.0):
        heard = ear(clicks(10, each))
        assert heard.onsets == pytest.approx(1 / each, rel=0.05)
    assert ear(sawtooth(5, 251.3)).onsets == ear(noise(5)).onsets == ear(0 * noise(5)).onsets == 0


def test_what_is_silent_or_still_is_stuck() -> None:
    still = [sawtooth(5), noise(5), 0 * seconds(5)]
    assert all(ear(sound).stuck == 1 for sound in still)
    moving = np.concatenate([sawtooth(0.25, hertz) for hertz in (110, 220, 147, 330, 196) * 4])
    assert ear(moving).stuck == 0 and ear(moving).movement_db > 3
    assert ear(np.concatenate([moving, sawtooth(5), moving, sawtooth(5)])).stuck == 0.5
    mostly_silent = np.concatenate([moving[: 2 * RATE - RATE // 4], 0 * seconds(3.25)])
    assert ear(mostly_silent).stuck == 1


def test_the_change_of_bands_is_in_decibels_and_what_is_far_below_the_loudest_is_not_heard() -> None:
    levels = np.full((160, 40), 20.0)
    levels[8::16] += 2  # each moment has eight frames: one frame in every other moment
    assert median_change(levels) == pytest.approx(2 / 8)
    levels[:] = 20
    levels[:, :20] = np.where(np.arange(160) // 8 % 2, -40.0, -49.0)[:, np.newaxis]  # 60 dB under the loudest
    assert median_change(levels) == 0
    assert median_change(np.full((1, 40), FLOOR_DB)) == 0


def test_the_level_is_that_before_scaling() -> None:
    tone = np.sin(2 * np.pi * 440 * seconds(2))
    assert ear(tone).level_db == pytest.approx(-3.01, abs=0.01)
    assert ear(0.01 * tone).level_db == pytest.approx(-43.01, abs=0.01)
    assert ear(0 * tone).level_db == -120


def test_gain_changes_nothing_but_the_level() -> None:
    guitar = improvise(8.0, [3])[::3].astype(np.float64)
    loud, soft = ear(guitar), ear(guitar / 1000)
    assert numbers(loud) == pytest.approx(numbers(soft), rel=1e-6)
    assert loud.segments.mean == pytest.approx(soft.segments.mean, abs=1e-6)
    assert loud.level_db - soft.level_db == pytest.approx(60)


@pytest.mark.parametrize("cut", [1, 777, 16_000, 65_536, 1_000_000])
def test_a_sound_is_heard_alike_however_it_is_read(cut: int) -> None:
    guitar = improvise(21.0, [4])[::3].astype(np.float64)[: 20 * RATE]
    guitar = guitar[: 3 * RATE] if cut == 1 else guitar
    whole = ear(guitar)
    parts = hear(Source("parts", lambda: (guitar[i : i + cut] for i in range(0, len(guitar), cut))))
    assert numbers(parts) == numbers(whole) and parts.level_db == whole.level_db
    assert np.array_equal(parts.segments.scatter, whole.segments.scatter)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 96_000])
def test_other_sample_rates_are_heard_at_sixteen_kilohertz(rate: int) -> None:
    def chord(at: int) -> Float64:
        time = np.arange(4 * at) / at
        return np.asarray(np.sum([0.1 * np.sin(2 * np.pi * hertz * time) for hertz in (200, 400, 600, 1000)], axis=0))

    expected, heard = ear(chord(RATE)), ear(chord(rate), rate)
    assert heard.seconds == pytest.approx(expected.seconds, abs=0.04)
    assert heard.centroid == pytest.approx(expected.centroid, rel=0.01)
    assert heard.harmonicity == pytest.approx(expected.harmonicity, abs=0.002)
    assert heard.level_db == pytest.approx(expected.level_db, abs=0.1)


@pytest.mark.parametrize("samples", [0, 1, 100, FRAME - 1, FRAME, FRAME + HOP - 1, RATE, 2 * RATE])
def test_short_clips_have_numbers(samples: int) -> None:
    heard = ear(sawtooth(2)[:samples])
    assert np.isfinite([*numbers(heard), heard.level_db, heard.seconds]).all()
    assert heard.segments.count == max(0, (max(0, samples - FRAME) // HOP + 1 - 31) // 15 + 1)
    assert 0.064 <= heard.seconds <= max(0.064, samples / RATE)


def test_a_segment_takes_a_second() -> None:
    shortest = round(SEGMENT_SECONDS * RATE)
    assert ear(noise(2)[:shortest]).segments.count == 1
    assert ear(noise(2)[: shortest - 1]).segments.count == 0


def test_a_source_is_cut_into_stretches_in_one_reading() -> None:
    sound, read = noise(10), []

    def blocks() -> object:
        for first in range(0, len(sound), 7000):
            read.append(first)
            yield sound[first : first + 7000]

    starts: Sequence[float] = (0.0, 2.0, 4.5, 9.0)
    stretches = list(Source("noise", blocks).stretches(starts, 2.0))  # type: ignore[arg-type]
    for start, stretch in zip(starts, stretches, strict=True):
        first = round(start * RATE)
        assert np.array_equal(np.concatenate(list(stretch.blocks())), sound[first : first + 2 * RATE])
    assert read == sorted(set(read))


def test_a_clip_on_disk_is_heard_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([np.concatenate([noise(3), sawtooth(2)])] * 2, axis=1), RATE, subtype="FLOAT")
    assert hear(source_of_clip(path, 2.0)).harmonicity > 0.999
    assert hear(source_of_clip(path, 2.0)).seconds <= 2.0
    assert hear(source_of_clip(path)).seconds == hear(source_of_clip(path, 99.0)).seconds > 4.9


def gaussian(mean: list[float], covariance: list[list[float]]) -> tuple[Float64, Float64]:
    return np.array(mean), np.array(covariance)


def test_the_frechet_distance_of_known_gaussians() -> None:
    one = gaussian([1.0, 2.0], [[4.0, 0.0], [0.0, 9.0]])
    other = gaussian([4.0, -2.0], [[1.0, 0.0], [0.0, 16.0]])
    expected = 9 + 16 + (2 - 1) ** 2 + (3 - 4) ** 2  # where the axes are common: the standard deviations' differences
    assert frechet_distance(*one, *other) == pytest.approx(expected)
    assert frechet_distance(*other, *one) == pytest.approx(expected)
    assert frechet_distance(*one, *one) == pytest.approx(0, abs=1e-9)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = [(turn @ mean, turn @ covariance @ turn.T) for mean, covariance in (one, other)]
    assert frechet_distance(*turned[0], *turned[1]) == pytest.approx(expected)


def test_the_frechet_distance_of_gaussians_with_other_axes() -> None:
    """Of C = I, it is the sum of (sqrt(eigenvalue of D) - 1)^2, whatever the axes of D are."""
    covariance = np.array([[2.5, 1.5], [1.5, 2.5]])  # eigenvalues 1 and 4
    found = frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), covariance)
    assert found == pytest.approx((1 - 1) ** 2 + (2 - 1) ** 2)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    vectors = RNG.standard_normal((100, 5)) @ RNG.standard_normal((5, 5)) + 7
    parts = [Moments.of(part) for part in np.split(vectors, [0, 1, 40])]
    together = sum(parts[1:], parts[0])
    assert together.count == 100
    assert together.mean == pytest.approx(vectors.mean(axis=0))
    assert together.covariance == pytest.approx(np.cov(vectors.T))


def test_a_set_has_no_distance_from_itself_and_strange_sounds_have_one() -> None:
    guitar = ear(improvise(40.0, [5])[::3].astype(np.float64)).segments
    reference = Reference.of(guitar)
    assert len(reference.variances) == 24 and (np.diff(reference.variances) <= 0).all()
    assert reference.distance(guitar) == pytest.approx(0, abs=1e-3)
    more = reference.distance(ear(improvise(40.0, [6])[::3].astype(np.float64)).segments)
    for sound in (noise(40), sawtooth(40), 0 * seconds(40)):
        assert reference.distance(ear(sound).segments) > 5 * more > 0


def test_a_reference_of_few_segments_has_as_many_components_as_they_span() -> None:
    few = ear(noise(2.5))
    assert len(Reference.of(few.segments).variances) == few.segments.count - 1 < 24
    with pytest.raises(ValueError, match="two segments"):
        Reference.of(ear(noise(1.1)).segments)


def test_real_solos_score_what_they_have_always_scored(shared_audio: Path) -> None:
    heard = {}
    for i in range(1, 13):
        samples, rate = soundfile.read(shared_audio / "solos" / f"solo-{i:02d}.flac")
        heard[i] = ear(samples, rate)
    held_out = (3, 6, 8)
    segments = [
        sum((heard[i].segments for i in which), Moments.of(np.zeros((0, 120))))
        for which in ([i for i in heard if i not in held_out], held_out)
    ]
    assert Reference.of(segments[0]).distance(segments[1]) == pytest.approx(4.7, abs=0.05)
    assert np.mean([one.harmonicity for one in heard.values()]) == pytest.approx(0.97, abs=0.005)
    assert np.mean([one.onsets for one in heard.values()]) == pytest.approx(3, abs=0.3)
    assert {one.stuck for one in heard.values()} == {0.0}
