"""The recording that a run's clips are compared with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slash_cli.held_out import held_out_recording
from slash_train.corpus import Corpus
from slash_train.run import Run


def test_it_is_from_the_middle_of_the_longest_that_was_held_out(run: Run, corpus: Corpus) -> None:
    found = held_out_recording(run.path)
    region = max(corpus.regions("test") or corpus.regions("valid"), key=lambda one: one.length)
    whole = corpus.pcm[region.start : region.start + region.length]
    assert found is not None and found.sample_rate == corpus.sample_rate
    length = min(len(whole), 10 * corpus.sample_rate)
    first = (len(whole) - length) // 2
    assert np.array_equal(found.samples, whole[first : first + length])
    (name,) = (one.name for one in corpus.manifest.recordings if region in one.regions)
    assert found.name == name


def test_why_there_is_none_is_said(
    run: Run, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((run.path / "run.json").read_text())
    (tmp_path / "run").mkdir()
    place = tmp_path / "corpus"

    def found(**used: str) -> str:
        changed = {**content, "corpus": {**content["corpus"], "path": str(place), **used}}
        (tmp_path / "run" / "run.json").write_text(json.dumps(changed))
        assert held_out_recording(tmp_path / "run") is None
        return " ".join(capsys.readouterr().err.split())

    assert "corpus: does not exist" in found() or "no such file" in found()
    shutil.copytree(corpus.path, place)
    assert "holds another corpus by now" in found(sha256="0" * 64)
    (place / "samples.npy").write_bytes(b"")
    assert "is damaged" in found()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert held_out_recording(tmp_path / "run") is None
    assert "is damaged, or from another version" in " ".join(capsys.readouterr().err.split())


def test_a_corpus_that_is_all_for_training_has_none(
    run: Run, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "corpus"
    shutil.copytree(corpus.path, place)
    manifest = (place / "corpus.json").read_text()
    (place / "corpus.json").write_text(manifest.replace('"valid"', '"train"').replace('"test"', '"train"'))
    content = json.loads((run.path / "run.json").read_text())
    content["corpus"] |= {"path": str(place), "sha256": Corpus(place).fingerprint()}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    assert held_out_recording(tmp_path / "run") is None
    assert capsys.readouterr().err == ""
