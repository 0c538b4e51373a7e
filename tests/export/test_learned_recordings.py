"""A bundle keeps the values of the recordings that its model has learned from, if they are at hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ON_CPU

from slash_export.audition import audition
from slash_export.bundle_writer import export
from slash_infer.audio.ear.heard_set import hear_all
from slash_infer.audio.ear.source import source_of
from slash_infer.bundle import Bundle
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.corpus_sources import sources
from slash_train.prepare import prepare
from slash_train.run import Run


def test_they_are_those_of_the_training_split(bundle: Bundle, corpus: Corpus) -> None:
    recordings = bundle.recordings
    assert recordings is not None and "recordings.json" in {entry.file for entry in bundle.manifest.files()}
    training = [
        source_of("", corpus.pcm[region.start : region.start + region.length] / 32768, corpus.sample_rate)
        for region in corpus.regions("train")
    ]
    heard = hear_all(training)
    assert recordings.count == len(training) and recordings.seconds == pytest.approx(heard.seconds)
    for name, value in heard.means().items():
        assert getattr(recordings, name) == pytest.approx(value)
    assert recordings.reference.distance(heard.segments) == pytest.approx(0, abs=1e-3)


def test_the_parts_of_a_recording_belong_to_their_splits(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(np.arange(44_100) / 9)
    soundfile.write(tmp_path / "one.wav", tone, 22_050)
    prepare([tmp_path / "one.wav"], tmp_path / "corpus", sample_rate=8000, valid=0.25, test=0.25)
    corpus = Corpus(tmp_path / "corpus")
    for split, seconds in (("train", 1.0), ("valid", 0.5), ("test", 0.5)):
        (source,) = sources(corpus, split)  # type: ignore[arg-type]
        samples = np.concatenate(list(source.blocks()))
        assert source.name == "one.wav" and len(samples) == pytest.approx(16_000 * seconds, abs=2)
        assert samples.std() == pytest.approx(10 ** (-1 / 20) / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("gone", ["moved", "too short"])
def test_a_bundle_goes_without_them(tmp_path: Path, gone: str) -> None:
    seconds = 3 if gone == "moved" else 0.5
    for i in range(3):
        tone = 0.5 * np.sin((i + 1) * np.arange(round(seconds * 16_000)) / 10)
        soundfile.write(tmp_path / f"{i}.wav", tone, 16_000)
    prepare([tmp_path], tmp_path / "corpus")
    small = ["model.width=8", "model.embedding=8", "training.batch_size=1", "training.preview_clips=0"]
    preset = load_preset("tiny", small)
    run = loop.train(
        Corpus(tmp_path / "corpus"), tmp_path / "run", "tiny", preset, limits=loop.Limits(2), context=ON_CPU
    ).run
    if gone == "moved":
        shutil.move(tmp_path / "corpus", tmp_path / "elsewhere")
    export(run, tmp_path / "bundle")
    assert Bundle(tmp_path / "bundle").recordings is None
    assert not (tmp_path / "bundle" / "recordings.json").exists()


def test_clips_too_short_for_a_distance_are_auditioned(run: Run, tmp_path: Path) -> None:
    (line,) = audition(
        run,
        tmp_path / "audition",
        [run.checkpoints.find("best")],
        clips=1,
        seconds=0.3,
        seed=0,
        temperature=TemperatureSchedule.constant(1.0),
        floor=0.0,
        candidates=1,
        restart=False,
    )
    assert line.distance is None and 0 <= line.score <= 1 and np.isfinite(line.harmonicity)
