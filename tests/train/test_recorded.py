"""What recordings do, as a bundle keeps it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_train.config import change_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.prepare import prepare
from slash_train.recorded import SILENT_DB, measure_recorded
from slash_train.run import Run

RATE = 16_000


def test_half_surprise_by_less(run: Run, corpus: Corpus) -> None:
    model = run.load_model("best").model
    found = measure_recorded(model, run.preset, corpus)
    mean = bits_per_sample(ModelScorer(model, run.preset.audio.codec), corpus, "train")
    assert found is not None and found.surprise == pytest.approx(mean, abs=0.5)
    assert found.pause == run.preset.training.longest_pause


def test_long_pauses_are_left_out_as_in_training(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 6 * RATE)
    corpus = _corpus(tmp_path, np.concatenate([noise, np.zeros(8 * RATE), noise]))
    model = run.load_model("best").model
    without = measure_recorded(model, run.preset, corpus)
    whole = measure_recorded(model, change_preset(run.preset, ["training.longest_pause=60"]), corpus)
    assert without is not None and whole is not None
    assert (without.pause, whole.pause) == (0.5, 60)
    level = 10 * np.log10(np.square(corpus.pcm / 32768).mean())
    assert whole.silence == pytest.approx(level - SILENT_DB, abs=0.1)
    assert without.silence == pytest.approx(whole.silence + 10 * np.log10(20 / 12.5), abs=0.1)  # seconds


def test_the_least_variation_within_a_second(run: Run, tmp_path: Path) -> None:
    """Noise varies by chance alone; where it changes in level every quarter of a second, no second is so steady."""
    model = run.load_model("best").model
    noise = np.random.default_rng(0).normal(0, 0.1, 6 * RATE)
    changing = noise * np.repeat(np.tile([0.02, 1.0], 12), RATE // 4)
    found = []
    for name, samples in (("steady", noise), ("changing", changing), ("short", noise[: int(1.2 * RATE)])):
        (tmp_path / name).mkdir()
        found.append(measure_recorded(model, run.preset, _corpus(tmp_path / name, samples)))
    steady, changes, short = (one.variation for one in found if one is not None)
    assert 0 < 5 * steady < changes
    assert short == 0


def test_half_of_what_is_not_silent_repeats_less(run: Run, tmp_path: Path) -> None:
    model, t = run.load_model("best").model, np.arange(6 * RATE) / RATE
    tone, noise = 0.3 * np.sin(2 * np.pi * 440 * t), np.random.default_rng(0).normal(0, 0.1, len(t))
    pauses = np.repeat(np.tile([1.0, 0.0], 6), RATE // 2)
    found = {}
    for name, samples in (
        ("tone", tone),
        ("noise", noise),
        ("a tone with pauses", tone * pauses + 1e-6 * noise),
    ):
        (tmp_path / name).mkdir()
        recorded = measure_recorded(model, run.preset, _corpus(tmp_path / name, samples))
        assert recorded is not None
        found[name] = recorded.harmonicity
    assert found["tone"] > 0.99 and found["a tone with pauses"] > 0.9
    assert found["noise"] < 0.2


def test_too_short_to_say(run: Run, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, np.random.default_rng(0).normal(0, 0.1, int(0.6 * RATE)))
    assert measure_recorded(run.load_model("best").model, run.preset, corpus) is None


def _corpus(folder: Path, samples: npt.NDArray[np.float64]) -> Corpus:
    soundfile.write(folder / "one.wav", samples, RATE)
    prepare([folder / "one.wav"], folder / "corpus", valid=0, test=0)
    return Corpus(folder / "corpus")
