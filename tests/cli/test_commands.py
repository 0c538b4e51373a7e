"""The command line as a user meets it: in a process of its own, from recordings to sound."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile

from slash_infer.bundle import Bundle

SLASH = [sys.executable, "-m", "slash_infer"]
COMMANDS = ("prepare", "train", "evaluate", "export", "generate", "bench", "info", "demo")


def slash(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SLASH, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_whole_path(recordings: Path, tmp_path: Path) -> None:
    corpus, run, bundle, clips = (tmp_path / name for name in ("corpus", "run", "bundle", "clips"))
    speed = tmp_path / "speed.json"
    for arguments in (
        ("prepare", recordings, "--out", corpus),
        (
            "train",
            corpus,
            "--out",
            run,
            "--preset",
            "tiny",
            "--steps",
            "60",
            "--set",
            "training.batch_size=4",
        ),
        ("train", corpus, "--out", run, "--resume", "--steps", "80"),
        ("export", run, "--out", bundle),
        (
            "generate",
            bundle,
            "--out",
            clips,
            "-n",
            "3",
            "--seconds",
            "0.3",
            "--seed",
            "4",
            "--format",
            "flac",
        ),
        ("generate", bundle, "--out", tmp_path / "one.wav", "--seconds", "0.3", "--seed", "4"),
        ("bench", bundle, "-n", "1,2", "--seconds", "0.05", "--json", speed),
    ):
        done = slash(*arguments)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout.strip()
    assert sorted(path.name for path in clips.iterdir()) == sorted(
        f"clip-{i:04d}.{suffix}" for i in range(3) for suffix in ("flac", "json")
    )
    first, rate = soundfile.read(clips / "clip-0000.flac")
    alone, _ = soundfile.read(tmp_path / "one.wav")
    assert rate == 16_000 and len(first) == 4800
    assert (first == alone).all()
    measured = json.loads(speed.read_text())
    assert [line["clips"] for line in measured["speeds"]] == [1, 2]
    assert measured["machine"]["versions"]["onnxruntime"]
    for path, says in ((corpus, "as recorded"), (run, "training.batch_size"), (bundle, "identical codes")):
        done = slash("info", path)
        assert done.returncode == 0 and says in done.stdout, done.stderr
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_itself_with_an_example(command: str) -> None:
    done = slash(command, "--help")
    assert done.returncode == 0
    assert f"slash {command}" in done.stdout.split("Options:")[0].replace("Usage: slash", "")


def test_slash_alone_shows_its_help() -> None:
    done = slash()
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 10


def test_names_are_printed_as_they_are(recordings: Path, tmp_path: Path) -> None:
    """Brackets are markup to the library that prints."""
    out = tmp_path / "o[/b][bold]x"
    done = slash("prepare", recordings, "--out", out)
    assert done.returncode == 0 and str(out) in done.stdout, done.stderr


def test_help_imports_nothing_slow() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "slash_infer", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {
        "numpy",
        "torch",
        "onnxruntime",
        "soundfile",
        "matplotlib",
        "rich.console",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_training_saves_it(recordings: Path, tmp_path: Path, number: int) -> None:
    assert slash("prepare", recordings, "--out", tmp_path / "corpus").returncode == 0
    arguments = ["train", tmp_path / "corpus", "--out", tmp_path / "run", "--preset", "tiny"]
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = _start(*arguments, stdout=subprocess.PIPE, text=True)
    _wait_for(metrics)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "go on with --resume" in stdout
    assert slash("export", tmp_path / "run", "--out", tmp_path / "bundle").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_generation_leaves_nothing_half_written(bundle: Bundle, tmp_path: Path, number: int) -> None:
    out = tmp_path / "clips"
    arguments = ["generate", bundle.path, "--out", out, "-n", "2", "--seconds", "3600"]
    process = _start(*arguments, stderr=subprocess.DEVNULL)
    _wait_for(out)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = slash("demo", "--out", out, "--minutes", "0.1", "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    assert "Listen" in done.stdout and "x realtime" in done.stdout and "bits/sample" in done.stdout
    assert len(list((out / "clips").glob("*.wav"))) == 4
    for png in (out / "clips").glob("*.png"):
        assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 10_000
    again = slash("demo", "--out", out)
    assert again.returncode == 2 and "already exists" in again.stderr


def _start(*arguments: object, **streams: Any) -> subprocess.Popen[str]:
    """Start slash as a terminal would, which heeds SIGINT even where the tests themselves run in the background."""
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([*SLASH, *map(str, arguments)], preexec_fn=heed, **streams)  # noqa: PLW1509


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.05)
