"""The benchmark scripts run, and their baselines are what they say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from slash_infer.codec import Codec
from slash_train.corpus import Corpus
from slash_train.prepare import prepare
from slash_train.run import Run

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_held_out_bits_and_learning_curve(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    scores, curve = tmp_path / "scores.json", tmp_path / "curve.png"
    for arguments in (
        ("held_out_bits.py", run.path, corpus.path, "--json", scores),
        ("learning_curve.py", run.path, scores, "--out", curve),
    ):
        command = [sys.executable, str(SCRIPTS / arguments[0]), *map(str, arguments[1:])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    content = json.loads(scores.read_text())
    bits = content["bits_per_sample"]
    assert bits["order 1"]["test"] < bits["order 0"]["test"] < 8.5
    assert content["step"] == run.checkpoints.find("best").progress().step
    assert curve.read_bytes().startswith(b"\x89PNG")


def test_baselines_find_the_entropy_of_noise_and_of_a_chain(tmp_path: Path) -> None:
    """White noise costs its entropy with either order; a walk that steps up or down costs one bit with order 1."""
    codec, rng = Codec(kind="linear", levels=16), np.random.default_rng(0)
    baselines = _load("held_out_bits").baselines
    noise = rng.integers(0, 8, 200_000)
    walk = np.cumsum(rng.choice([-1, 1], 200_000)) % 8
    for values, order_0, order_1 in ((noise, 3.0, 3.0), (walk, 3.0, 1.0)):
        folder = tmp_path / f"{order_1}"
        folder.mkdir()
        every_other = codec.decode(2 * values)  # so far apart that the corpus's gain keeps them apart
        soundfile.write(folder / "a.wav", every_other, 16_000, subtype="FLOAT")
        prepare([folder], folder / "corpus")
        found = baselines(Corpus(folder / "corpus"), codec)
        assert found["order 0"]["test"] == pytest.approx(order_0, abs=0.02)
        assert found["order 1"]["test"] == pytest.approx(order_1, abs=0.02)
