"""Generation needs no PyTorch: proved in a process where importing it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from slash_infer.bundle import Bundle
from slash_train.corpus import Corpus
from slash_train.run import Run

PROGRAM = """
import importlib, pkgutil, sys
for name in ("torch", "onnx", "onnxscript"):
    sys.modules[name] = None  # importing it now raises ImportError
import slash_infer
for module in pkgutil.walk_packages(slash_infer.__path__, "slash_infer."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from slash_cli import main
sys.argv[1:] = ["generate", sys.argv[1], "--out", sys.argv[2], "--seconds", "0.1"]
main()
"""


def test_generate_runs_where_torch_cannot_be_imported(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "clip.wav"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, bundle.path, out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert out.exists()


def test_generate_never_imports_torch_where_it_could(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "clip.wav"
    command = ["generate", str(bundle.path), "--out", str(out), "--seconds", "0.1"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "slash_cli", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "onnxruntime" in imported
    assert not {name for name in imported if name.split(".")[0] in ("torch", "onnx", "slash_train")}


VERIFY = """
import sys
sys.modules["torch"] = None
from slash_cli import main
sys.argv[1:] = ["verify", sys.argv[1]]
main()
"""


def test_verifying_needs_no_torch(bundle: Bundle) -> None:
    command = [sys.executable, "-c", VERIFY, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MISSING = """
import sys
sys.modules[sys.argv[1]] = None
from slash_cli import main
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("torch", "train", "train corpus --out new"),
        ("torch", "train", "export run --out new"),
        ("onnx", "export", "verify bundle"),
        ("onnxruntime", "cpu", "generate bundle --out clip.wav"),
        ("onnxruntime", "cpu", "bench bundle"),
        ("onnxruntime", "cpu", "verify bundle"),
        ("jinja2", "plot", "gallery clips --out page"),
        ("matplotlib", "plot", "gallery clips --out page"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    bundle: Bundle, corpus: Corpus, run: Run, tmp_path: Path, package: str, extra: str, command: str
) -> None:
    for name, path in (("bundle", bundle.path), ("corpus", corpus.path), ("run", run.path)):
        (tmp_path / name).symlink_to(path)
    arguments = [sys.executable, "-c", MISSING, package, *command.split()]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"slash: {command.split(maxsplit=1)[0]} needs {package}, which is not installed; "
        f"pip install 'slash-audio[{extra}]'"
    ]


@pytest.mark.parametrize(
    ("package", "extra", "option"),
    [("sounddevice", "play", "--play"), ("pyloudnorm", "loudness", "--normalise loudness")],
)
def test_what_an_option_needs_is_named_too(
    bundle: Bundle, tmp_path: Path, package: str, extra: str, option: str
) -> None:
    command = ["generate", str(bundle.path), "--out", "clip.wav", "--seconds", "1", *option.split()]
    arguments = [sys.executable, "-c", MISSING, package, *command]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    says = f"slash: {option} needs {package}, which is not installed; pip install 'slash-audio[{extra}]'"
    assert done.stderr.splitlines() == [says]
    assert list(tmp_path.iterdir()) == []
