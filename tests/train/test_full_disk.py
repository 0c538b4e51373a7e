"""A disk that is full for a while, or for good: what is only to be looked at is dropped, and no work is lost."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ON_CPU

from slash_export.previews import make_previews
from slash_infer.errors import UserError
from slash_train import loop
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.run import Run

SMALLEST = 8  # bytes


@contextmanager
def _no_limit() -> Iterator[None]:
    """Lift the limit of file sizes after the body."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _no_room() -> None:
    """Let every file be full, as far as this process is concerned."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_disk_that_is_full_between_checkpoints_costs_nothing(corpus: Corpus, tmp_path: Path) -> None:
    preset, said = load_preset("tiny", ["training.checkpoint_every=100"]), list[str]()
    with _no_limit():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)

        def report(metrics: Metrics, *_: object) -> None:
            if metrics.step == 25:
                _no_room()
            if metrics.step == 75:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        context = loop.TrainContext(ON_CPU.device, report=report, warn=said.append)
        done = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(100), context=context)
    assert [m.step for m in done.run.metrics()] == [25, 50, 75, 100]
    assert done.run.checkpoints.find("last").trainer_state().step == 100
    assert len(said) == 1 and "tensorboard" in said[0] and "training goes on without" in said[0]


def test_a_disk_that_stays_full_ends_training_at_the_checkpoint(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    def report(metrics: Metrics, *_: object) -> None:
        if metrics.step == 50:
            _no_room()

    context = loop.TrainContext(ON_CPU.device, report=report)
    with (
        _no_limit(),
        pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written .*; make room and go on"),
    ):
        loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(100), context=context)
    assert Run(tmp_path / "run").checkpoints.find("last").trainer_state().step == 50
    done = loop.resume(corpus, tmp_path / "run", preset=tiny, limits=loop.Limits(75), context=ON_CPU)
    assert [m.step for m in done.run.metrics()] == [25, 50, 75]
    assert not list((tmp_path / "run").rglob(".*"))


def test_curves_and_previews_that_cannot_be_written_do_not_end_training(corpus: Corpus, tmp_path: Path) -> None:
    preset, out, said = load_preset("tiny"), tmp_path / "run", list[str]()
    loop.train(corpus, out, "tiny", preset, limits=loop.Limits(1), context=ON_CPU)
    (out / "learning_curve.png").unlink()
    (out / "learning_curve.png").mkdir()
    (out / "previews").write_text("in the way")
    (out / "tensorboard").rename(out / "board")
    (out / "tensorboard").write_text("in the way")
    context = loop.TrainContext(ON_CPU.device, previews=make_previews, warn=said.append)
    done = loop.resume(corpus, out, preset=preset, limits=loop.Limits(2), context=context)
    assert done.step == 2 and done.run.checkpoints.find("last").trainer_state().step == 2
    for name, times in {"learning_curve.png": 1, "previews": 2, "tensorboard": 1}.items():  # of steps 1 and 2
        lines = [line for line in said if str(out / name) in line]
        assert len(lines) == times and all(line.endswith("training goes on without") for line in lines)
