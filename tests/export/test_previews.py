"""Previews of a run in training: clips, spectrograms, TensorBoard, and the learning curve."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ON_CPU
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from slash_export.bundle_writer import export
from slash_export.previews import SEED, make_previews
from slash_infer.bundle import Bundle
from slash_infer.sampling.sampler import Sampler
from slash_train import loop, session
from slash_train.config import Preset, change_preset, load_preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.run import Run


@pytest.fixture(scope="module", name="previewed")
def _previewed(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    preset = load_preset(
        "tiny", ["training.preview_clips=2", "training.preview_seconds=0.5", "training.ema_decay=0.9"]
    )
    context = loop.TrainContext(ON_CPU.device, previews=make_previews)
    out = tmp_path_factory.mktemp("previewed") / "run"
    return loop.train(corpus, out, "tiny", preset, limits=loop.Limits(100), context=context).run


def test_every_checkpoint_has_the_same_clips(previewed: Run) -> None:
    folders = sorted((previewed.path / "previews").iterdir())
    assert [folder.name for folder in folders] == ["step-00000050", "step-00000100"]
    for folder in folders:
        for name in ("clip-0", "clip-1"):
            samples, rate = soundfile.read(folder / f"{name}.wav")
            assert (rate, len(samples)) == (16_000, 8_000)
            assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (previewed.path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_previews_are_what_the_export_generates(previewed: Run, tmp_path: Path) -> None:
    export(previewed, tmp_path / "bundle", checkpoint="last")
    expected = Sampler(Bundle(tmp_path / "bundle"), range(2), seed=SEED).generate(0.5)
    for i in range(2):
        samples, _ = soundfile.read(previewed.path / "previews" / "step-00000100" / f"clip-{i}.wav", dtype="float32")
        assert np.abs(samples - expected[i]).max() < 1e-4  # 16 bits


def test_tensorboard_can_play_them(previewed: Run) -> None:
    events = EventAccumulator(str(previewed.path / "tensorboard"), size_guidance={"audio": 0, "images": 0})
    events.Reload()
    assert [event.step for event in events.Audio("clip-0")] == [50, 100]
    assert events.Audio("clip-1")[0].sample_rate == 16_000
    assert [event.step for event in events.Images("clip-1/spectrogram")] == [50, 100]


def test_no_clips_when_none_are_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    preset = load_preset("tiny", ["training.preview_clips=0"])
    context = loop.TrainContext(ON_CPU.device, previews=make_previews)
    loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(50), context=context)
    assert not (tmp_path / "run" / "previews").exists()


def test_the_first_clips_come_by_the_clock(
    corpus: Corpus, tiny: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the first checkpoint by steps; what comes soon after another one is left out."""
    monkeypatch.setattr(session, "EARLY_MINUTES", (0.005, 0.006, 0.05))
    heard: list[Path] = []
    context = loop.TrainContext(ON_CPU.device, previews=make_previews, heard=heard.append)
    preset = change_preset(tiny, ["training.checkpoint_every=1000000"])
    run = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(minutes=0.1), context=context).run
    scored = [metrics for metrics in run.metrics() if metrics.valid_bits is not None]
    assert 2 <= len(scored) <= 3  # at 0.3 s, at 3 s unless the first took that long, and at the end
    assert 0.3 <= scored[0].seconds < 3.0 and scored[-1].seconds >= 6.0
    assert heard == [run.path / "previews" / f"step-{metrics.step:08d}" for metrics in scored]
    assert all((folder / "clip-0.wav").exists() for folder in heard)
    assert [path.path.name for path in run.checkpoints.all()] == sorted(
        {run.checkpoints.find(which).path.name for which in ("best", "last")}
    )


@pytest.mark.parametrize(("number", "clips"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)], ids=["Ctrl-C", "SIGTERM"])
def test_ctrl_c_leaves_clips_to_hear(
    corpus: Corpus, tiny: Preset, tmp_path: Path, number: signal.Signals, clips: int
) -> None:
    def report(metrics: Metrics, *_: object) -> None:
        if metrics.step == 25:
            os.kill(os.getpid(), number)

    context = loop.TrainContext(ON_CPU.device, previews=make_previews, report=report)
    done = loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(1000), context=context)
    assert (done.step, done.stopped_by) == (26, number)
    assert len(list((tmp_path / "run" / "previews").glob("step-00000026/*.wav"))) == clips
    export(done.run, tmp_path / "bundle")  # it has a checkpoint, if not a scored one
