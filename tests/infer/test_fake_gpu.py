"""The GPU's code under the real cuda-core, on a driver without a GPU: captures, threads, memory, the whole player."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from odd_models import write_odd

HERE = Path(__file__).resolve().parent
SOURCE = (HERE / "on_fake_gpu.py").read_text(encoding="utf-8")
CHECKS = re.findall(r"\w+", SOURCE.partition("CHECKS = [")[2].partition("]")[0])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, kernels: Path) -> dict[str, str]:
    """What each check raised, from a process of its own, since a driver cannot be unloaded."""
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the driver with")
    folder = tmp_path_factory.mktemp("driver")
    options = ["-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")]
    subprocess.run([compiler, *options, str(HERE / "fake_cuda.c")], check=True)
    example = HERE.parents[1] / "docs" / "example-bundle"
    (folder / "fp16").mkdir()
    half = write_odd(folder / "fp16", []).path
    done = subprocess.run(
        [sys.executable, HERE / "on_fake_gpu.py", example, half, kernels],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_on_a_driver_without_a_gpu(outcome: dict[str, str], check: str) -> None:
    assert outcome[check] == "", outcome[check]
