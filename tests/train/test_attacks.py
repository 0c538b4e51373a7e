"""Clips of training begin where notes do."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_train.attacks import strongest_attack
from slash_train.clips import cut_clips
from slash_train.corpus import Corpus
from slash_train.prepare import prepare

RATE = 16_000


def _noise(levels: list[float], seconds: float) -> npt.NDArray[np.float64]:
    """Return noise whose level changes from one stretch to the next."""
    random = np.random.default_rng(0)
    return np.concatenate([random.normal(0, level, round(seconds * RATE)) for level in levels])


def _pcm(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.round(32767 * samples), -32768, 32767).astype(np.int16)


def test_the_first_of_equals() -> None:
    pcm = np.tile(np.repeat(np.array([0, 9000], np.int16), 3200), 3)
    assert strongest_attack(pcm, RATE) == 3200


@pytest.mark.parametrize(
    ("levels", "where"),
    [
        ([0.01, 0.1, 0.02, 0.1], 0.2),  # the larger of two rises
        ([0.1, 0.01, 0.02, 0.01], 0.4),  # a fall is none
        ([0, 0.1, 0.2, 0.05], 0.2),  # out of digital silence
        ([1e-5, 2e-4, 0.02, 0.2], 0.4),  # 40 dB below the mean level nothing matters
    ],
)
def test_where_the_level_rises_most(levels: list[float], where: float) -> None:
    assert strongest_attack(_pcm(_noise(levels, 0.2)), RATE) == pytest.approx(where * RATE, abs=0.011 * RATE)


@pytest.mark.parametrize("pcm", [np.zeros(8000, np.int16), np.full(900, 99, np.int16), np.zeros(0, np.int16)])
def test_without_any_the_middle(pcm: npt.NDArray[np.int16]) -> None:
    assert strongest_attack(pcm, RATE) == len(pcm) // 2


@pytest.mark.parametrize("seconds", [0.0004, 1.0, 2.4, 20.0])
def test_clips_begin_at_attacks(tmp_path: Path, seconds: float) -> None:
    """Notes begin every half second, and fade."""
    fading = np.exp(-np.arange(RATE // 2) / RATE * 8)
    soundfile.write(tmp_path / "one.wav", _noise([0.2] * 25, 0.5) * np.tile(fading, 25), RATE)
    prepare([tmp_path / "one.wav"], tmp_path / "corpus", valid=0, test=0)
    corpus = Corpus(tmp_path / "corpus")
    equal, clips = (cut_clips(corpus, "train", seconds, 0.5, at_attacks=at_attacks) for at_attacks in (False, True))
    assert np.array_equal(*(np.concatenate([clip.read(corpus.pcm) for clip in each]) for each in (equal, clips)))
    assert len(clips) == len(equal) == -(-len(corpus.pcm) // round(seconds * RATE))
    for before, clip in zip(equal, clips, strict=True):
        assert abs(clip.parts[0][0] - before.parts[0][0]) <= 0.1 * before.length + 1
    moved = [
        _from_attack(clip.parts[0][0])
        for before, clip in zip(equal, clips, strict=True)
        if 0.02 * RATE < _from_attack(before.parts[0][0]) < 0.1 * before.length - 0.05 * RATE
    ]
    assert bool(moved) is (0.1 < seconds < 10)
    assert all(distance <= 0.011 * RATE for distance in moved)


def test_a_silent_recording_has_no_clips(tmp_path: Path) -> None:
    for name, level in (("silent", 0.0), ("loud", 0.1)):
        soundfile.write(tmp_path / f"{name}.wav", _noise([level], 2.0), RATE)
    prepare([tmp_path / "silent.wav", tmp_path / "loud.wav"], tmp_path / "corpus", valid=0, test=0)
    corpus = Corpus(tmp_path / "corpus")
    assert len(corpus.manifest.recordings) == 2
    clips = cut_clips(corpus, "train", 0.5, 0.5, at_attacks=True)
    assert {clip.recording for clip in clips} == {"loud.wav"}


def _from_attack(sample: int) -> int:
    """Return how far a sample is from the next beginning of a note."""
    return min(sample % (RATE // 2), -sample % (RATE // 2))
