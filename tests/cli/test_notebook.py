"""The notebook in examples/: every cell runs, in IPython, one after another, but for the one that installs Slash."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "slash.ipynb"
QUICK = {
    'MINUTES = Path("recordings"), 2.0': 'MINUTES = Path("recordings"), 0.05',
    "4, 5.0": "2, 0.5",
    "--init-from box": "--preset tiny",
    "minutes=3": "minutes=0.4",
    "sampler.generate(5.0)": "sampler.generate(0.5)",
    "bundle -n 1,8": "bundle -n 1 --seconds 0.1",
}
"""What the test says instead of what takes time."""
RUN = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in sys.stdin.read().split("\\0"):
    result = shell.run_cell(cell)
    assert result.success, cell
    assert not shell.user_ns.get("_exit_code"), cell
"""


def test_every_cell_runs(tmp_path: Path) -> None:
    """In an empty folder: the guitarist makes the recordings."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "install" not in cell["metadata"].get("tags", [])
    ]
    script = "\0".join(cells)
    for slow, quick in QUICK.items():
        assert slow in script
        script = script.replace(slow, quick)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "page" / "index.html").exists() and len(list((tmp_path / "clips").glob("*.wav"))) == 2
    assert done.stdout.count("IPython.lib.display.Audio object") == 3 and "IPython.core.display.Image" in done.stdout


def test_it_is_as_the_format_wants_it() -> None:
    """Without outputs, and with the cell that a test leaves out marked."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    (install,) = (cell for cell in code if "install" in cell["metadata"].get("tags", []))
    assert "pip install" in "".join(install["source"])


@pytest.mark.parametrize("extra", ["cpu", "train", "export", "plot"])
def test_what_it_installs_exists(extra: str) -> None:
    pyproject = (NOTEBOOK.parents[1] / "pyproject.toml").read_text()
    assert f"\n{extra} = [" in pyproject and extra in NOTEBOOK.read_text()
