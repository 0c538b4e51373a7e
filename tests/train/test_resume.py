"""A run that was stopped or killed resumes as if it had not been, whatever it was writing at that moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import ON_CPU
from fault_tally import Tally
from safetensors.torch import load_file

from slash_infer.errors import UserError
from slash_train import loop
from slash_train.config import Preset, change_preset, load_preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.run import Run

STEPS = 60
OVERRIDES = (
    *("training.ema_decay=0.99", "training.checkpoint_every=20", "training.keep=1", "training.warmup_steps=10"),
    *("training.optimiser=muon", "training.cooldown=0.4", "training.augment_semitones=1"),
)


@pytest.fixture(scope="module", name="preset")
def _preset() -> Preset:
    return load_preset("tiny", OVERRIDES)


@pytest.fixture(scope="module", name="uninterrupted")
def _uninterrupted(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained in its own process, like those to be killed: as many threads, hence the same rounding."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert _train(corpus, out).returncode == 0
    return Run(out)


# Counts the changes that a process makes on disk (renames, removals, files opened for writing); kills it at number N.
KILLER = """
import os, signal, sys
countdown = int(sys.argv.pop(1))
run = sys.argv[sys.argv.index("--out") + 1]
def hook(event, args):
    global countdown
    changes = event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree") or (
        event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax"))
    if changes and str(args[0]).startswith(run):
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from slash_cli import main
main()
"""


def _train(corpus: Corpus, out: Path, *more: str, die_at: int = 10**9) -> subprocess.CompletedProcess[str]:
    changes = [word for override in OVERRIDES for word in ("--set", override)] if "--resume" not in more else []
    options = ["--out", str(out), "--steps", str(STEPS), *more]
    if "--resume" not in more:
        options += ["--preset", "tiny", *changes]
    command = [sys.executable, "-c", KILLER, str(die_at), "train", str(corpus.path), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _assert_same(run: Run, expected: Run) -> None:
    """Compare weights, EMA, optimiser, RNN state, position in the data and metrics bit for bit; times may differ."""
    ours, theirs = run.checkpoints.find("last"), expected.checkpoints.find("last")
    for name in ("model", "ema", "optimiser", "state"):
        actual, wanted = (load_file(each.path / f"{name}.safetensors") for each in (ours, theirs))
        assert actual.keys() == wanted.keys()
        assert all(torch.equal(actual[key], wanted[key]) for key in wanted), name
    timeless = {"seconds", "samples_per_second"}
    assert ours.trainer_state().model_dump(exclude=timeless) == theirs.trainer_state().model_dump(exclude=timeless)
    lines = [[metrics.model_dump(exclude=timeless) for metrics in each.metrics()] for each in (run, expected)]
    assert lines[0] == lines[1]
    folders = [sorted(path.name for path in (each.path / "checkpoints").iterdir()) for each in (run, expected)]
    assert folders[0] == folders[1]
    clips = [sorted((each.path / "previews").rglob("*.wav")) for each in (run, expected)]
    our_audio, their_audio = ([soundfile.read(path)[0].tolist() for path in each] for each in clips)
    assert our_audio == their_audio  # the files' tags differ: they say when each was exported
    assert len(clips[0]) == STEPS // 20


# These cover creating the run, three checkpoints and the thinning of old ones: some 25 changes each.
# The fault suite kills a training before every change; one of these is enough when there is no time.
@pytest.mark.parametrize(
    "dies_at",
    [
        (14, 3),
        *[
            pytest.param(kills, marks=pytest.mark.slow)
            for kills in [(4,), (9,), (19,), (24, 4), (29, 12), (61, 6), (79,)]
        ],
    ],
    ids=str,
)
def test_killed_at_any_write_a_run_goes_on_bit_for_bit(
    corpus: Corpus, uninterrupted: Run, tmp_path: Path, dies_at: tuple[int, ...], tally: Tally
) -> None:
    """Killed once, or once more while resuming."""
    out = tmp_path / "run"
    for die_at in dies_at:
        killed = _train(corpus, out, *_resumed(out), die_at=die_at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        tally.count("kills: training, bit for bit")
    done = _train(corpus, out, *_resumed(out))
    assert done.returncode == 0, done.stderr
    _assert_same(Run(out), uninterrupted)


def _resumed(out: Path) -> list[str]:
    return ["--resume"] if out.exists() else []


def test_stopped_by_a_signal_between_checkpoints_a_run_goes_on_bit_for_bit(
    corpus: Corpus, preset: Preset, tmp_path: Path
) -> None:
    """This includes the loss that belongs to the next line of metrics."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop.train(corpus, whole, "tiny", preset, limits=loop.Limits(STEPS), context=ON_CPU)

    def report(metrics: Metrics, *_: object) -> None:
        if metrics.step == 25:
            os.kill(os.getpid(), signal.SIGINT)

    context = loop.TrainContext(ON_CPU.device, report=report)
    stopped = loop.train(corpus, parts, "tiny", preset, limits=loop.Limits(STEPS), context=context)
    assert stopped.stopped_by == signal.SIGINT and stopped.step == 26
    loop.resume(corpus, parts, preset=preset, limits=loop.Limits(STEPS), context=ON_CPU)
    timeless = {"seconds", "samples_per_second"}
    lines = [[m.model_dump(exclude=timeless) for m in Run(each).metrics()] for each in (whole, parts)]
    assert lines[0] == lines[1] and len(lines[0]) == 5
    for name in ("model", "ema", "optimiser", "state"):
        a, b = (load_file(Run(each).checkpoints.find("last").path / f"{name}.safetensors") for each in (whole, parts))
        assert all(torch.equal(a[key], b[key]) for key in a), name


def test_what_a_run_depends_on_cannot_be_changed(corpus: Corpus, run: Run) -> None:
    changed = change_preset(run.preset, ["model.width=64", "training.window=128", "training.learning_rate=1e-4"])
    with pytest.raises(UserError, match=r"model.width is 32, not 64; training.window is 256, not 128; start a new"):
        loop.resume(corpus, run.path, preset=changed, limits=loop.Limits(200), context=ON_CPU)


def test_the_learning_rate_may_be_changed(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(25), context=ON_CPU)
    changed = change_preset(tiny, ["training.learning_rate=1e-4", "training.keep=0"])
    loop.resume(corpus, out, preset=changed, limits=loop.Limits(50), context=ON_CPU)
    assert [m.learning_rate for m in Run(out).metrics()] == [3e-3, 1e-4]
    assert Run(out).preset == changed
