"""Scores in bits per sample: per file, and the same from a run and from its bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ON_CPU
from typer.testing import CliRunner

from slash_cli.app import app
from slash_export.bundle_writer import export
from slash_export.scoring import BundleScorer
from slash_infer.bundle import Bundle
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample, mean_bits, score_files
from slash_train.run import Run

SHAPES = {
    "three tiers": [],
    "two tiers, GRU": ["model.hops=[8]", "model.cell=gru"],
    "window-rnn": ["model.hops=[1]", "model.frame_sizes=[8]", "model.mlp_layers=0"],
    "frame-rnn": ["model.hops=[8]", "model.mlp_layers=0"],
}


@pytest.mark.parametrize("overrides", SHAPES.values(), ids=SHAPES.keys())
def test_a_bundle_scores_as_its_checkpoint(corpus: Corpus, tmp_path: Path, overrides: list[str]) -> None:
    preset = load_preset("tiny", [*overrides, "training.ema_decay=0.9"])
    done = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(50), context=ON_CPU)
    export(done.run, tmp_path / "bundle")
    model = done.run.load_model("best").model
    expected = bits_per_sample(ModelScorer(model, preset.audio.codec), corpus, "test", at_most_seconds=2)
    actual = bits_per_sample(BundleScorer(Bundle(tmp_path / "bundle")), corpus, "test", at_most_seconds=2)
    assert actual == pytest.approx(expected, abs=1e-5)


def test_files_are_scored_apart_and_together(run: Run, corpus: Corpus) -> None:
    model = run.load_model("best").model
    scorer = ModelScorer(model, run.preset.audio.codec)
    files = score_files(scorer, corpus, "train")
    recordings = [r for r in corpus.manifest.recordings if r.regions[0].split == "train"]
    assert [(file.name, file.samples) for file in files] == [(r.name, r.length) for r in recordings]
    assert len(files) > 1 and len({round(file.bits, 6) for file in files}) == len(files)
    assert mean_bits(files) == pytest.approx(bits_per_sample(scorer, corpus, "train"), abs=1e-6)


def test_the_ema_is_what_is_scored_and_exported(corpus: Corpus, tmp_path: Path) -> None:
    preset = load_preset("tiny", ["training.ema_decay=0.99"])
    run = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(100), context=ON_CPU).run
    ema, newest = run.load_model("last").model, run.load_model("last").model
    checkpoint = run.checkpoints.find("last")
    checkpoint.load_weights(newest)
    pairs = zip(ema.parameters(), newest.parameters(), strict=True)
    assert any(not np.array_equal(a.detach(), b.detach()) for a, b in pairs)
    seconds = preset.training.valid_seconds
    scored = bits_per_sample(ModelScorer(ema, preset.audio.codec), corpus, "valid", at_most_seconds=seconds)
    assert scored == pytest.approx(checkpoint.trainer_state().valid_bits, abs=1e-6)


def test_the_command_prints_a_table_and_writes_it(run: Run, bundle: Bundle, corpus: Corpus, tmp_path: Path) -> None:
    scores = {}
    for path in (run.path, bundle.path):
        out = tmp_path / f"{path.name}.json"
        done = CliRunner().invoke(app, ["evaluate", str(path), str(corpus.path), "--json", str(out)])
        assert done.exit_code == 0, done.output
        content = json.loads(out.read_text())
        for file in content["files"]:
            assert file["name"] in done.output and f"{file['bits']:.4f}" in done.output
        scores[path] = content["bits_per_sample"]
    assert scores[bundle.path] == pytest.approx(scores[run.path], abs=1e-3)
