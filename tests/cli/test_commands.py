"""The command line as a user meets it: in a process of its own, from recordings to sound."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import soundfile
from slash_process import slash, start, wait_for

from slash_cli.lazy import COMMANDS
from slash_infer.bundle import Bundle, describe_file


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
        ("generate", bundle, "--out", tmp_path / "one.wav", "--clip", "0", "--seconds", "0.3", "--seed", "4"),
        ("bench", bundle, "-n", "1,2", "--seconds", "0.05", "--json", speed),
        ("verify", bundle),
        ("evaluate", bundle, corpus, "--precision", "int8"),
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
    sidecar = json.loads((tmp_path / "one.json").read_text())
    recipe, outcome = sidecar["recipe"], sidecar["outcome"]
    assert (outcome["engine"], recipe["precision"]) == ("cpu", "int8") and "ONNX Runtime" in outcome["runtime"]
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


IMPORTED = """
import atexit, sys
atexit.register(lambda: print(*(name for name in sys.modules if name.startswith("slash_cli.")), file=sys.stderr))
sys.argv = ["slash", "info", "--help"]
from slash_cli import main
main()
"""


def test_a_command_is_imported_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) & {f"slash_cli.{command}" for command in COMMANDS} == {"slash_cli.info"}


def test_names_are_printed_as_they_are(recordings: Path, tmp_path: Path) -> None:
    """Brackets are markup to the library that prints."""
    out = tmp_path / "o[/b][bold]x"
    done = slash("prepare", recordings, "--out", out)
    assert done.returncode == 0 and str(out) in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "slash_cli", *arguments],
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


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopping_a_training_saves_it(recordings: Path, tmp_path: Path, number: int) -> None:
    assert slash("prepare", recordings, "--out", tmp_path / "corpus").returncode == 0
    arguments = ["train", tmp_path / "corpus", "--out", tmp_path / "run", "--preset", "tiny"]
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = start(*arguments, stdout=subprocess.PIPE, text=True)
    wait_for(metrics)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert stdout.splitlines()[-1].endswith(" --resume")
    assert slash("export", tmp_path / "run", "--out", tmp_path / "bundle").returncode == 0


def test_auto_says_what_it_chose_and_a_name_is_taken_at_its_word(bundle: Bundle, tmp_path: Path) -> None:
    auto = slash("generate", bundle.path, "--out", tmp_path / "auto.wav", "--seconds", "0.1")
    assert auto.returncode == 0
    assert re.fullmatch(r"ONNX Runtime \S+ on the CPU, int8 \(.+\)", auto.stderr.splitlines()[0])
    named = ["--engine", "cpu", "--precision", "fp16"]
    done = slash("generate", bundle.path, "--out", tmp_path / "named.wav", "--seconds", "0.1", *named)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "named.json").read_text())["recipe"]["precision"] == "fp16"


def test_verifying_finds_what_does_not_compute_the_model(bundle: Bundle, tmp_path: Path) -> None:
    """The int8 sample tier forgets what it has heard: its table is all zeros."""
    done = slash("verify", bundle.path, "--engine", "cpu")
    assert done.returncode == 0, done.stderr
    assert "cpu int8" in done.stdout and "32,000 identical" in done.stdout
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    path = folder / "sample_tier.int8.onnx"
    model = onnx.load(path)
    table = next(tensor for tensor in model.graph.initializer if tensor.name == "table")
    table.raw_data = bytes(len(table.raw_data))
    onnx.save(model, path)
    content = json.loads((folder / "manifest.json").read_text())
    content["variants"][1]["sample_tier"] = describe_file(path).model_dump()
    (folder / "manifest.json").write_text(json.dumps(content))
    done = slash("verify", folder)
    assert done.returncode == 2
    assert "FAULT" in done.stdout
    complaint = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"slash: .*cpu int8: mean KL is over .+; use another --engine or --precision", complaint)


@pytest.mark.tensorrt
def test_plans_are_built_without_a_gpu(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt: tensorrt-rtx is not installed")
    from slash_infer.runtimes.tensorrt_compiler import BATCHES

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for says in ("built in", "cached"):
        done = slash("build", bundle.path, "--target", "8.9")
        assert done.returncode == 0, done.stderr
        assert says in done.stdout and "sample_tier.fp16.onnx" in done.stdout and "int8" not in done.stdout
    assert len(list((tmp_path / "slash" / "plans").glob("*.plan"))) == 6 * len(BATCHES)


def test_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = slash("demo", "--out", out, "--minutes", "0.1", "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    assert "Listen" in done.stdout and "x realtime" in done.stdout and "bits/sample" in done.stdout
    assert len(list((out / "clips").glob("*.wav"))) == 4
    assert (out / "page" / "index.html").is_file() and len(list((out / "page" / "audio").iterdir())) > 4
    for png in (out / "clips").glob("*.png"):
        assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 10_000
    again = slash("demo", "--out", out)
    assert again.returncode == 2 and "already exists" in again.stderr
