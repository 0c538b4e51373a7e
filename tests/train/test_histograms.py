"""The baselines of a score: histograms of the codes, on signals whose entropy is known."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from slash_process import slash

from slash_infer.codec import Codec
from slash_train import histograms
from slash_train.corpus import Corpus
from slash_train.histograms import baselines
from slash_train.prepare import prepare
from slash_train.run import Run


def test_they_find_the_entropy_of_noise_and_of_a_chain(tmp_path: Path) -> None:
    """White noise costs its entropy under either order; a walk of one step up or down costs one bit under order 1."""
    codec, rng = Codec(kind="linear", levels=16), np.random.default_rng(0)
    noise = rng.integers(0, 8, 200_000)
    walk = np.cumsum(rng.choice([-1, 1], 200_000)) % 8
    for values, order_0, order_1 in ((noise, 3.0, 3.0), (walk, 3.0, 1.0)):
        folder = tmp_path / f"{order_1}"
        folder.mkdir()
        every_other = codec.decode(2 * values)  # far enough apart to stay distinct under the corpus's gain
        soundfile.write(folder / "a.wav", every_other, 16_000, subtype="FLOAT")
        prepare([folder], folder / "corpus")
        for found in baselines(Corpus(folder / "corpus"), codec, "valid", "test"):
            assert found.order_0 == pytest.approx(order_0, abs=0.02)
            assert found.order_1 == pytest.approx(order_1, abs=0.02)


def test_blocks_count_every_pair_once(corpus: Corpus, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = run.preset.audio.codec
    whole = baselines(corpus, codec, "valid", "test")
    monkeypatch.setattr(histograms, "BLOCK", 997)
    assert baselines(corpus, codec, "valid", "test") == whole


def test_evaluate_prints_them_and_names_what_is_unlike_the_training(
    run: Run, corpus: Corpus, recordings: Path, tmp_path: Path
) -> None:
    (expected,) = baselines(corpus, run.preset.audio.codec, "test")
    scores = tmp_path / "scores.json"
    usual = slash("evaluate", run.path, corpus.path, "--json", scores).stdout
    assert f"training split: {expected.order_0:.3f}; after each other code: {expected.order_1:.3f}" in usual
    assert json.loads(scores.read_text())["baselines"] == asdict(expected)
    assert "worse than knowing nothing" not in usual
    noise = np.random.default_rng(0).uniform(-1, 1, 8_000)
    soundfile.write(tmp_path / "hiss.wav", noise, 16_000)
    prepare([tmp_path / "hiss.wav", recordings], tmp_path / "corpus", valid=0, test=0)
    odd = slash("evaluate", run.path, tmp_path / "corpus", "--split", "train").stdout
    assert "hiss.wav: worse than knowing nothing, which scores 8: it is unlike what was learned" in odd
    assert odd.count("unlike") == 1
