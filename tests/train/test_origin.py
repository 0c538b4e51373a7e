"""A run that begins with the weights of another: what it takes over, what it begins anew, and what is said of it."""

import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import ON_CPU
from safetensors.torch import load_file

from slash_export.bundle_writer import export
from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.guitar import record
from slash_train.origin import WARMUP_STEPS, Origin
from slash_train.prepare import prepare
from slash_train.run import Run


@pytest.fixture(scope="module", name="others")
def _others(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Recordings that the session's run has not heard."""
    place = tmp_path_factory.mktemp("others")
    record(place / "takes", minutes=0.2, seed=9, takes=2)
    prepare([place / "takes"], place / "corpus")
    return Corpus(place / "corpus")


def _begin(corpus: Corpus, out: Path, origin: Origin, steps: int, *overrides: str) -> loop.Outcome:
    configuration = origin.configuration(None, overrides)
    limits = loop.Limits(steps)
    return loop.train(corpus, out, "tiny", configuration, limits=limits, context=ON_CPU, origin=origin)


def _weights(run: Run, which: str, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints.find(which).path / f"{name}.safetensors")


def _same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_it_goes_on_from_the_weights_alone(run: Run, others: Corpus, tmp_path: Path) -> None:
    """Before its first step it has them, with fresh moments, at the beginning of its own data."""
    begun = _stopped_at_once(others, tmp_path / "new", Origin.open(run.path))
    first = begun.checkpoints.find("last")
    assert _same(_weights(begun, "last"), _weights(run, "best"))
    assert not any(moment.any() for moment in load_file(first.path / "optimiser.safetensors").values())
    state = first.trainer_state()
    assert (state.step, state.seconds, state.best_bits) == (0, 0.0, None)
    assert [lane.offset for lane in state.position.lanes] == [0] * begun.preset.training.batch_size
    assert begun.preset.training.warmup_steps == WARMUP_STEPS and begun.preset.model == run.preset.model


class _Never(loop.Limits):
    """Fails before the first step, as a process does that is killed there."""

    def done(self, _step: int, _seconds: float) -> float:
        raise InterruptedError


def _stopped_at_once(corpus: Corpus, out: Path, origin: Origin, *overrides: str) -> Run:
    configuration = origin.configuration(None, overrides)
    with pytest.raises(InterruptedError):
        loop.train(corpus, out, "tiny", configuration, limits=_Never(10), context=ON_CPU, origin=origin)
    return Run(out)


def test_stopped_before_its_first_checkpoint_it_resumes_with_the_weights(
    run: Run, others: Corpus, tmp_path: Path
) -> None:
    origin, settings = Origin.open(run.path), ("training.ema_decay=0.9", "training.checkpoint_every=10")
    whole = _begin(others, tmp_path / "whole", origin, 10, *settings).run
    stopped = _stopped_at_once(others, tmp_path / "stopped", origin, *settings)
    loop.resume(others, stopped.path, preset=stopped.preset, limits=loop.Limits(10), context=ON_CPU)
    for name in ("model", "ema", "optimiser", "state"):
        assert _same(_weights(stopped, "last", name), _weights(whole, "last", name)), name
    assert [path.path.name for path in stopped.checkpoints.all()] == ["step-00000010"]  # step 0 has done its duty


def test_stopped_early_its_best_is_what_it_has_learned_so_far(run: Run, others: Corpus, tmp_path: Path) -> None:
    """Not what it began with."""

    def report(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    origin = Origin.open(run.path)
    context = loop.TrainContext(ON_CPU.device, report=report)
    configuration = origin.configuration(None, [])
    done = loop.train(
        others, tmp_path / "new", "tiny", configuration, limits=loop.Limits(1000), context=context, origin=origin
    )
    assert done.stopped_by == signal.SIGINT
    assert done.run.load_model("best").step == done.step == 26
    assert [path.path.name for path in done.run.checkpoints.all()] == ["step-00000026"]


def test_it_takes_the_average_where_there_is_one(run: Run, others: Corpus, tmp_path: Path) -> None:
    middle = _begin(others, tmp_path / "middle", Origin.open(run.path), 10, "training.ema_decay=0.99").run
    begun = _stopped_at_once(others, tmp_path / "new", Origin.open(middle.path))
    assert _same(_weights(begun, "last"), _weights(middle, "best", "ema"))
    assert _same(_weights(begun, "last", "ema"), _weights(middle, "best", "ema"))
    assert not _same(_weights(begun, "last"), _weights(middle, "best"))


def test_it_begins_where_the_other_run_ended(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    """In bits per sample on the same recordings, after the first steps."""
    origin = Origin.open(run.path)
    first, *_ = _begin(corpus, tmp_path / "new", origin, 25).run.metrics()
    anew, *_ = run.metrics()
    *_, last = run.metrics()
    assert first.train_bits < last.train_bits + 0.2 < anew.train_bits


def test_its_ancestors_are_kept_in_the_run_and_in_the_bundle(
    run: Run, corpus: Corpus, others: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest first, with what each was learned from."""
    child = _begin(others, tmp_path / "child", Origin.open(run.path), 10, "training.checkpoint_every=10").run
    (checkpoint,) = child.checkpoints.all()
    monkeypatch.chdir(checkpoint.path.parent)
    grandchild = _begin(corpus, tmp_path / "grandchild", Origin.open(Path(checkpoint.path.name)), 1).run
    manifest = export(grandchild, tmp_path / "bundle")
    ancestors = Bundle(tmp_path / "bundle").manifest.provenance.ancestors
    assert ancestors == manifest.provenance.ancestors == grandchild.metadata.ancestors
    nearest, first = ancestors
    assert (nearest.step, nearest.recordings, nearest.corpus_sha256) == (10, 2, others.fingerprint())
    assert nearest.valid_bits == checkpoint.trainer_state().valid_bits
    assert (first.step, first.recordings, first.corpus_sha256) == (150, 4, corpus.fingerprint())
    assert first.seconds == pytest.approx(24, abs=1)
    assert child.metadata.ancestors == (first,)


def test_what_does_not_fit_begins_anew_and_is_named(run: Run, others: Corpus, tmp_path: Path) -> None:
    told: list[str] = []
    context = loop.TrainContext(ON_CPU.device, warn=told.append)
    origin = Origin.open(run.path)
    other = origin.configuration(None, ["model.frame_sizes=[4,64]"])
    done = loop.train(others, tmp_path / "new", "tiny", other, limits=loop.Limits(1), context=context, origin=origin)
    (line,) = told
    assert line.startswith(f"{run.path}: does not fit in ") and line.endswith(
        "; they begin anew, and the rest is taken over"
    )
    assert "frame_tiers.1." in line and "embedding" not in line
    assert done.step == 1


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.width=48"], "has another model, of which less than half fits: model.width is 32, not 48; leave out"),
        (["audio.codec.kind=linear"], "has codes of mu-law 256, and the new run of linear 256"),
        (["audio.codec.levels=128"], "has codes of mu-law 256, and the new run of mu-law 128"),
        (["audio.sample_rate=8000"], "is at 16000 Hz and the preset at 8000 Hz"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_taken_over_is_refused_before_there_is_a_run(
    run: Run, others: Corpus, tmp_path: Path, overrides: list[str], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        _begin(others, tmp_path / "new", Origin.open(run.path), 1, *overrides)
    assert not list(tmp_path.iterdir())


def test_a_preset_may_be_given_and_keeps_its_own_warm_up(run: Run) -> None:
    origin = Origin.open(run.path)
    assert origin.configuration("live", []).model == load_preset("live").model
    assert origin.configuration(None, ["training.warmup_steps=7"]).training.warmup_steps == 7


def test_a_run_cannot_replace_what_it_begins_with(run: Run, others: Corpus, tmp_path: Path) -> None:
    once = _begin(others, tmp_path / "once", Origin.open(run.path), 1).run
    origin = Origin.open(once.path)
    with pytest.raises(UserError, match=r"holds .*once, which is to be read"):
        loop.train(
            others,
            once.path,
            "tiny",
            once.preset,
            limits=loop.Limits(1),
            context=ON_CPU,
            origin=origin,
            force=True,
        )
    assert Run(once.path).load_model("best").step == 1
