"""What the README and the guide show in Python runs as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer import Bundle, Sampler
from slash_train.guitar import improvise

ROOT = Path(__file__).resolve().parents[2]


def python_in(page: Path) -> str:
    (found,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return str(found)


@pytest.mark.parametrize("page", ["README.md", "docs/generating.md"])
def test_the_example_runs(bundle: Bundle, tmp_path: Path, page: str) -> None:
    shutil.copytree(bundle.path, tmp_path / "bundle")
    riff = improvise(0.5, [4])[::3]
    soundfile.write(tmp_path / "riff.wav", riff, 16_000)
    example = python_in(ROOT / page)
    assert len(example.splitlines()) <= 10
    example = example.replace("stream(10.0)", "stream(2.0)")  # which takes less time
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = Sampler.restore(tmp_path / "state.npz", Bundle(tmp_path / "bundle"))
    assert again.seconds == {"README.md": 2.0, "docs/generating.md": 2.5}[page]
    if page == "README.md":
        assert len(done.stdout.splitlines()) >= 8 and "2.00 s, peaks [" in done.stdout
        whole = Sampler(bundle, clips=8)
        whole.prime(soundfile.read(tmp_path / "riff.wav")[0])
        assert np.array_equal(whole.generate(2.5)[:, -8000:], again.generate(0.5))
