"""Real inputs for the tests: a synthetic corpus, a model trained on it, and its bundle, made once per session."""

import os
import signal
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side: more threads would get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import torch

from slash_export.bundle_writer import export
from slash_infer.bundle import PRECISIONS, Bundle
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train import loop
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.guitar import record
from slash_train.prepare import prepare
from slash_train.run import Run

pytest_plugins = ["fault_tally", "fault_samples", "compiled_kernels"]

SHARED_AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
ON_CPU = loop.TrainContext(torch.device("cpu"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Real recordings, if there are any beside the checkout."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip(f"no real recordings at {SHARED_AUDIO}")
    return SHARED_AUDIO


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four short takes of synthetic guitar."""
    folder = tmp_path_factory.mktemp("recordings")
    record(folder, minutes=0.4, seed=1, takes=4)
    return folder


@pytest.fixture(scope="session")
def corpus(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The takes, prepared at 16 kHz."""
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    prepare([recordings], out)
    return Corpus(out)


@pytest.fixture(scope="session")
def tiny() -> Preset:
    return load_preset("tiny")


@pytest.fixture(scope="session")
def run(corpus: Corpus, tiny: Preset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny model, trained for 150 steps."""
    out = tmp_path_factory.mktemp("run") / "run"
    return loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(150), context=ON_CPU).run


@pytest.fixture(scope="session")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model, exported in every precision."""
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    export(run, out, precisions=PRECISIONS)
    return Bundle(out)


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    """The bundle's fp32 graphs on the CPU."""
    return Engine(bundle, OnnxCpu())
