"""One trainer at a time on one run."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ON_CPU

from slash_infer.errors import UserError
from slash_train import loop
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.run import Run
from slash_train.run_lock import require_untrained, training_lock

HOLDER = """
import sys, time
from pathlib import Path
from slash_train.run_lock import training_lock
with training_lock(Path(sys.argv[1]), print):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture(name="trained")
def _trained(corpus: Corpus, tiny: Preset, tmp_path: Path) -> Run:
    return loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(1), context=ON_CPU).run


def test_a_second_trainer_is_told_who_is_first(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    """Resuming, replacing, and reading the run while it is trained."""
    out, said = tmp_path / "run", list[str]()

    def report(metrics: Metrics, *_: object) -> None:
        before = sorted(path.name for path in out.rglob("*"))
        with pytest.raises(UserError) as fault:
            loop.resume(corpus, out, preset=tiny, limits=loop.Limits(50), context=ON_CPU)
        said.append(str(fault.value))
        with pytest.raises(UserError) as fault:
            loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(50), context=ON_CPU, force=True)
        said.append(str(fault.value))
        assert sorted(path.name for path in out.rglob("*")) == before
        assert [m.step for m in Run(out).metrics()][-1] == metrics.step

    context = loop.TrainContext(ON_CPU.device, report=report)
    loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(25), context=context)
    assert len(said) == 2 and set(said) == {
        f"{out}: is being trained by process {os.getpid()} on {socket.gethostname()}; "
        "stop that one, or wait until it is done"
    }
    loop.resume(corpus, out, preset=tiny, limits=loop.Limits(26), context=ON_CPU)


def test_a_killed_trainer_holds_nothing(trained: Run) -> None:
    command = [sys.executable, "-c", HOLDER, str(trained.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=f"is being trained by process {process.pid} on "):
            require_untrained(trained.path)
        process.send_signal(signal.SIGKILL)
    require_untrained(trained.path)
    with training_lock(trained.path, pytest.fail):
        pass


def test_what_a_killed_trainer_left_beside_its_run_is_swept(corpus: Corpus, tiny: Preset, trained: Run) -> None:
    """Killed when the run was in its place and the part that it was made in not yet removed."""
    part = trained.path.with_name(f".{trained.path.name}.0123abcd.part")
    part.mkdir()
    (part / "lock").touch()
    loop.resume(corpus, trained.path, preset=tiny, limits=loop.Limits(1), context=ON_CPU)
    assert [path.name for path in trained.path.parent.iterdir()] == [trained.path.name]


def test_a_lock_stays_with_a_run_that_is_moved_or_replaced(trained: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    with training_lock(trained.path, pytest.fail):
        trained.path.rename(moved)
        with pytest.raises(UserError, match="is being trained"), training_lock(moved, pytest.fail):
            pass
        trained.path.mkdir()
        with training_lock(trained.path, pytest.fail):
            pass


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_lock_is_no_reason_to_wait(trained: Run, kind: str) -> None:
    lock = trained.path / "train.lock"
    lock.unlink()
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises((UserError, IsADirectoryError)), training_lock(trained.path, pytest.fail):
        pass


def test_without_locks_training_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems; the system's answer is the only thing that is made up here."""

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without_locks)
    said: list[str] = []
    with training_lock(tmp_path, said.append):
        pass
    assert said == [
        f"{tmp_path}: is not locked (No locks available); see to it that no other process trains this run"
    ]
