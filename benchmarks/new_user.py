"""Times what somebody does who is new here: the wheel, the notebook and the container, each from a fresh clone.

    python benchmarks/new_user.py --json benchmarks/results/new_user.json
    python benchmarks/new_user.py --only wheel,notebook

Nothing installed beforehand is used but Python, pip's cache of downloads, and podman or docker for the container.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from slash_infer.files import check_file_output, write_json
from slash_infer.machine import describe_machine

HOME = Path(__file__).resolve().parents[1]
STREAMED_SECONDS = 20.0
NOTEBOOK = """
import json, sys
from datetime import datetime

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
cells = [one for one in notebook.cells if one.cell_type == "code" and "install" not in one.metadata.get("tags", [])]
notebook.cells = [*cells, nbformat.v4.new_code_cell("assert not _exit_code")]
NotebookClient(notebook, timeout=None, record_timing=True).execute()
for cell in cells:
    began, ended = (
        datetime.fromisoformat(cell.metadata.execution[key].replace("Z", "+00:00"))
        for key in ("iopub.execute_input", "shell.execute_reply")
    )
    line = next(line for line in cell.source.splitlines() if line and not line.startswith(("from ", "import ")))
    print(json.dumps([line, (ended - began).total_seconds()]))
"""


@dataclass
class Timed:
    """What somebody does step by step, in a folder of their own, and the seconds that each step takes."""

    folder: Path
    steps: list[tuple[str, float]] = field(default_factory=list)

    def run(self, said: str, *command: str | Path, quick: bool = False) -> str:
        """Run a command and return what it prints.

        Args:
            said: the step, as a table has it.
            command: what to run in the folder.
            quick: leave the step out of the table.

        Raises:
            SystemExit: the command failed; with the end of what it printed.
        """
        began = time.perf_counter()
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)  # noqa: S603  our own
        if done.returncode != 0:
            raise SystemExit(f"{said} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        if not quick:
            self.note(said, time.perf_counter() - began)
        return done.stdout

    def note(self, said: str, seconds: float) -> None:
        """Add a step to the table."""
        self.steps.append((said, round(seconds, 1)))
        print(f"{seconds:8.1f} s  {said}", flush=True)

    def environment(self, *requirements: str) -> Path:
        """Make a virtual environment with what is asked for, and return the folder of its programs."""
        programs = self.folder / "venv" / "bin"
        self.run("`python -m venv`", sys.executable, "-m", "venv", "venv")
        shown = " ".join(one if "/" not in one else Path(one).name for one in requirements)
        install = (programs / "pip", "install", "--quiet", "--constraint", self.folder / "clone" / "constraints.txt")
        self.run(f"`pip install {shown}`", *install, *requirements)
        return programs


def main(
    only: Annotated[str, typer.Option(help="Ways to try, with commas.")] = "wheel,notebook,container",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
) -> None:
    """Try each way in a folder of its own."""
    if json_file is not None:
        check_file_output(json_file, force=True)
    ways: dict[str, Callable[[Timed], None]] = {"wheel": _wheel, "notebook": _notebook, "container": _container}
    results, wanted = {}, only.split(",")
    if unknown := set(wanted) - ways.keys():
        raise SystemExit(f"there is no way {', '.join(sorted(unknown))}: {', '.join(ways)}")
    for name in wanted:
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            timed = Timed(Path(folder))
            timed.run("", "git", "clone", "--quiet", HOME, "clone", quick=True)
            ways[name](timed)
            results[name] = timed.steps
    if json_file is not None:
        write_json(json_file, {"machine": asdict(describe_machine()), "results": results})


def _wheel(timed: Timed) -> None:
    """From a wheel to the first sound."""
    slash = timed.environment(f"{_built(timed)}[cpu]") / "slash"
    timed.run("`slash generate --out riff.wav`", slash, "generate", "--out", "riff.wav")


def _notebook(timed: Timed) -> None:
    """Every cell of the notebook, in a kernel of Jupyter."""
    programs = timed.environment(f"{_built(timed)}[cpu,train,export,plot]", "nbclient", "ipykernel")
    path = f"PATH={programs}{os.pathsep}{os.environ['PATH']}"
    notebook = timed.folder / "clone" / "examples" / "slash.ipynb"
    printed = timed.run("", "env", path, programs / "python", "-c", NOTEBOOK, notebook, quick=True)
    for line in printed.splitlines():
        cell, seconds = json.loads(line)
        timed.note(f"cell `{cell}`", seconds)


def _container(timed: Timed) -> None:
    """The image for CPUs: built, heard, and stopped in the middle of a stream."""
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None:
        raise SystemExit("the container needs podman or docker")
    program, clone, clips = Path(engine).name, timed.folder / "clone", timed.folder / "clips"
    clips.mkdir()
    recipe = "examples/deploy/Dockerfile"
    build = (engine, "build", "--no-cache", "-f", clone / recipe, "-t", "slash", clone)
    timed.run(f"`{program} build --no-cache -f {recipe} -t slash .`", *build)
    run = (engine, "run", "--rm", "--user", str(os.getuid()), "--volume", f"{clips}:/clips")
    timed.run(f"`{program} run ... slash generate --out /clips/riff.wav`", *run, "slash", *_generate("riff.wav"))
    tight = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    timed.run("the same, read-only and without capabilities", *run, *tight, "slash", *_generate("again.wav"))
    _stop(timed, run, engine)
    if sorted(path.name for path in clips.glob("*.wav")) != ["again.wav", "endless.wav", "riff.wav"]:
        raise SystemExit(f"{clips} has {sorted(clips.iterdir())}")


def _stop(timed: Timed, run: Sequence[str], engine: str) -> None:
    """End a stream as an orchestrator does."""
    command = [*run, "--name", "slash-endless", "slash", *_generate("endless.wav"), "--seconds", "inf"]
    endless = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  our own
    program = Path(engine).name
    try:
        time.sleep(STREAMED_SECONDS)
        timed.run(f"`{program} stop`, in the middle of a stream", engine, "stop", "--time", "30", "slash-endless")
        if endless.wait() != 128 + signal.SIGTERM:
            raise SystemExit(f"a container that was stopped ended with {endless.returncode}")
    finally:
        subprocess.run((engine, "rm", "--force", "slash-endless"), capture_output=True, check=False)  # noqa: S603
        endless.terminate()


def _generate(name: str) -> tuple[str, ...]:
    return ("generate", "--out", f"/clips/{name}")


def _built(timed: Timed) -> Path:
    """Make the wheel as docs/deploy.md says, and return it."""
    timed.run("", sys.executable, "-m", "venv", "build", quick=True)
    timed.run("", timed.folder / "build" / "bin" / "pip", "install", "--quiet", "build", quick=True)
    timed.run("`python -m build`", timed.folder / "build" / "bin" / "python", "-m", "build", timed.folder / "clone")
    (wheel,) = (timed.folder / "clone" / "dist").glob("*.whl")
    return wheel


if __name__ == "__main__":
    typer.run(main)
