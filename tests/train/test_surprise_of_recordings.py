"""How much recordings surprise a model that has learned from them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from slash_train.config import change_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.prepare import prepare
from slash_train.run import Run
from slash_train.surprise import surprise_of_recordings

RATE = 16_000


def test_recordings_are_within_their_range(run: Run, corpus: Corpus) -> None:
    model = run.load_model("best").model
    found = surprise_of_recordings(model, run.preset, corpus)
    mean = bits_per_sample(ModelScorer(model, run.preset.audio.codec), corpus, "train")
    assert found is not None and 0 < found.least < mean < found.most < 8


def test_long_pauses_are_left_out_as_in_training(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 6 * RATE)
    corpus = _corpus(tmp_path, np.concatenate([noise, np.zeros(6 * RATE), noise]))
    model = run.load_model("best").model
    without = surprise_of_recordings(model, run.preset, corpus)
    whole = surprise_of_recordings(model, change_preset(run.preset, ["training.longest_pause=60"]), corpus)
    assert without is not None and whole is not None
    assert whole.most > without.most + 1  # silence, which the guitarist never keeps, surprises the model most


def test_too_short_to_say(run: Run, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, np.random.default_rng(0).normal(0, 0.1, int(0.6 * RATE)))
    assert surprise_of_recordings(run.load_model("best").model, run.preset, corpus) is None


def _corpus(folder: Path, samples: npt.NDArray[np.float64]) -> Corpus:
    soundfile.write(folder / "one.wav", samples, RATE)
    prepare([folder / "one.wav"], folder / "corpus", valid=0, test=0)
    return Corpus(folder / "corpus")
