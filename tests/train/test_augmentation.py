"""Augmentation by resampling."""

import numpy as np
import pytest

from slash_train.augmentation import Augmentation, draw_augmentation

RATE = 16_000


def _tone(hertz: float, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.rint(level * 32767 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def _pitch(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum)) * RATE / len(pcm)


@pytest.mark.parametrize("semitones", [-12, -1.5, 0.25, 2, 12])
def test_the_pitch_changes_by_the_semitones_and_the_length_with_it(semitones: float) -> None:
    augmentation = Augmentation(2 ** (semitones / 12))
    played = augmentation.apply(_tone(440))
    assert played.dtype == np.int16
    assert len(played) == augmentation.length(RATE) == round(RATE / 2 ** (semitones / 12))
    assert _pitch(played) == pytest.approx(440 * 2 ** (semitones / 12), abs=2)


def test_no_augmentation_is_the_clip_itself() -> None:
    tone = _tone(300)
    assert np.array_equal(draw_augmentation(0, (1, 2, 3)).apply(tone), tone)


def test_the_loudest_samples_are_clipped_and_do_not_wrap_around() -> None:
    square = np.where(_tone(200) > 0, 32767, -32768).astype(np.int16)
    played = Augmentation(1.05).apply(square).astype(int)
    assert np.abs(np.diff(played)).max() < 65535 and played.max() == 32767 and played.min() == -32768
    assert np.corrcoef(played, np.sign(played))[0, 1] > 0.95


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_shortest_clips_stay_clips(length: int) -> None:
    for speed in (0.5, 0.9, 1.1, 2.0):
        assert len(Augmentation(speed).apply(np.ones(length, np.int16))) >= 1


def test_it_is_a_function_of_the_seed_within_the_range() -> None:
    drawn = [draw_augmentation(2, (0, epoch, place)).speed for epoch in range(10) for place in range(20)]
    assert drawn == [draw_augmentation(2, (0, epoch, place)).speed for epoch in range(10) for place in range(20)]
    semitones = 12 * np.log2(drawn)
    assert semitones == pytest.approx(np.rint(semitones))
    counts = np.bincount(np.rint(semitones).astype(int) + 2, minlength=5)
    assert len(counts) == 5 and counts.min() >= 20
