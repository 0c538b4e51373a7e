"""How recordings are cut into clips."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_train.clips import cut_clips
from slash_train.corpus import Corpus
from slash_train.prepare import prepare

RATE = 16_000


def _corpus(folder: Path, recordings: dict[str, npt.NDArray[np.float64]]) -> Corpus:
    for name, samples in recordings.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    prepare([folder / f"{name}.wav" for name in recordings], folder / "corpus", valid=0, test=0)
    return Corpus(folder / "corpus")


def _noise(seconds: float) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE))


def test_a_silent_recording_has_no_clips(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, {"silent": np.zeros(2 * RATE), "loud": _noise(2)})
    assert len(corpus.manifest.recordings) == 2
    assert {clip.recording for clip in cut_clips(corpus, "train", 0.5, 0.5)} == {"loud.wav"}


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 20.0])
def test_clips_are_what_is_left_between_pauses_in_order(tmp_path: Path, seconds: float) -> None:
    """Edges between clips and pauses meet in every way."""
    parts = [_noise(1.3), np.zeros(2 * RATE), _noise(0.4), np.zeros(RATE), _noise(0.9)]
    corpus = _corpus(tmp_path, {"one": np.concatenate(parts)})
    (whole,) = cut_clips(corpus, "train", 60, 0.25)
    assert len(whole.parts) == 3
    clips = cut_clips(corpus, "train", seconds, 0.25)
    lengths = [clip.length for clip in clips]
    assert len(clips) == -(-whole.length // round(seconds * RATE)) and max(lengths) - min(lengths) <= 1
    assert np.array_equal(np.concatenate([clip.read(corpus.pcm) for clip in clips]), whole.read(corpus.pcm))
    assert all(start < stop for clip in clips for start, stop in clip.parts)
