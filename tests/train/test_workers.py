"""Several processes train as one: two over gloo against a single one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from slash_infer.errors import UserError
from slash_train.corpus import Corpus
from slash_train.run import Run
from slash_train.workers import Workers

SETTINGS = ("--preset", "tiny", "--set", "training.ema_decay=0.99", "--set", "training.preview_clips=0")


def _command(corpus: Corpus, out: Path, processes: int, *more: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start = [sys.executable, *(launcher if processes > 1 else []), "-m", "slash_cli"]
    return [*start, "train", str(corpus.path), "--out", str(out), *more]


def _run(corpus: Corpus, out: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = _command(corpus, out, processes, *more)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_two_processes_equal_one(corpus: Corpus, tmp_path: Path) -> None:
    """The same global batch gives the same weights, EMA, state, losses and scores but for rounding.

    Then they swap, and begin new runs with the weights of one.

    Only for a few steps, since rounding errors grow: on some processors to a twentieth of the state within sixty
    steps.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    for out, processes in ((one, 1), (two, 2)):
        done = _run(corpus, out, processes, "--steps", "20", *SETTINGS)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("20 steps") == 1  # only one of them prints
    _assert_alike(one, two)
    for out, processes in ((one, 2), (two, 1)):
        done = _run(corpus, out, processes, "--resume", "--steps", "30")
        assert done.returncode == 0, done.stderr
    _assert_alike(one, two)
    for out, processes in ((tmp_path / "new-one", 1), (tmp_path / "new-two", 2)):
        done = _run(corpus, out, processes, "--init-from", str(one), "--steps", "10")
        assert done.returncode == 0, done.stderr
    _assert_alike(tmp_path / "new-one", tmp_path / "new-two")


def _assert_alike(one: Path, two: Path) -> None:
    for name in ("model", "ema", "state"):
        expected, actual = (
            load_file(Run(each).checkpoints.find("last").path / f"{name}.safetensors") for each in (one, two)
        )
        for key, tensor in expected.items():
            assert tensor.shape == actual[key].shape
            off = float((tensor - actual[key]).abs().max())
            assert off < 2e-4, (name, key, off)
    lines = [list(Run(each).metrics()) for each in (one, two)]
    for a, b in zip(*lines, strict=True):
        assert (a.step, a.samples, a.learning_rate) == (b.step, b.samples, b.learning_rate)
        assert a.train_bits == pytest.approx(b.train_bits, abs=1e-4)
        assert (a.valid_bits is None) == (b.valid_bits is None)
        if a.valid_bits is not None:
            assert a.valid_bits == pytest.approx(b.valid_bits, abs=1e-4)
    positions = [Run(each).checkpoints.find("last").trainer_state().position for each in (one, two)]
    assert positions[0] == positions[1]


def test_a_signal_stops_all_processes_at_the_same_step(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = _command(corpus, out, 2, "--steps", "1000000", *SETTINGS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while not (out / "checkpoints" / "index.json").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert "saved at step" in output
    step = Run(out).checkpoints.find("last").trainer_state().step
    assert f"saved at step {step}" in output
    assert _run(corpus, out, 1, "--resume", "--steps", str(step + 10)).returncode == 0


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    three = Workers()
    three.count = 3
    assert three.lanes(9) == slice(0, 3)
    with pytest.raises(UserError, match="batch_size=8 cannot be divided among 3 processes"):
        three.lanes(8)
