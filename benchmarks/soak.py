"""Trains and generates for an hour, and checks that memory, handles and threads stay flat.

    make soak
    python benchmarks/soak.py --minutes 60 --json benchmarks/results/soak.json

Two processes, as a user starts them: `slash train --preset tiny` on a minute of the synthetic guitarist, and
`slash generate` without end, whose audio goes nowhere. Each is looked at 240 times. After the first quarter, which
warms up, the medians of the second quarter are compared with those of the last.
"""

import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.guitar import record

LOOKS = 240  # at each process
MOST_GROWTH = 0.03  # of the memory
ENDING_SECONDS = 60.0


@dataclass
class Watched:
    """What a process held whenever it was looked at."""

    megabytes: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, process: int) -> None:
        """Note what a process holds."""
        folder = Path("/proc") / str(process)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        self.megabytes.append(int(status["VmRSS"].split()[0]) / 1024)
        self.threads.append(int(status["Threads"]))
        self.handles.append(len(list((folder / "fd").iterdir())))

    def verdict(self) -> tuple[list[str], str]:
        """Return what grew, and all of it in words."""
        grew, said = [], []
        for what, values in (("MB", self.megabytes), ("handles", self.handles), ("threads", self.threads)):
            quarter = len(values) // 4
            early, late = (statistics.median(values[first : first + quarter]) for first in (quarter, 3 * quarter))
            said.append(f"{early:.0f} to {late:.0f} {what}")
            if late > early * (1 + MOST_GROWTH):
                grew.append(what)
        return grew, ", ".join(said)


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 60.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
) -> None:
    """Train and generate side by side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watched = _run(folder, minutes)
    flat = True
    for what, one in watched.items():
        grew, said = one.verdict()
        flat &= not grew
        print(f"{what}: {said}; " + (f"grew: {', '.join(grew)}" if grew else "flat"))
    if json_file is not None:
        results = {what: asdict(one) for what, one in watched.items()}
        write_json(json_file, {"machine": asdict(describe_machine()), "minutes": minutes, "results": results})
    if not flat:
        raise typer.Exit(1)


def _run(folder: Path, minutes: float) -> dict[str, Watched]:
    def slash(*arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "slash_cli", *map(str, arguments)]

    record(folder / "recordings", 1.0)
    bundle, first = folder / "bundle", folder / "first"
    for command in (
        slash("prepare", folder / "recordings", "--out", folder / "corpus"),
        slash("train", folder / "corpus", "--out", first, "--preset", "tiny", "--steps", "50"),
        slash("export", first, "--out", bundle),
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  our own
    shutil.rmtree(first)
    endless = ("--preset", "tiny", "--steps", str(10**9))
    commands = {
        "training": slash("train", folder / "corpus", "--out", folder / "run", *endless),
        "generating": slash("generate", bundle, "--seconds", "inf", "--out", "-"),
    }
    watched = {what: Watched() for what in commands}
    processes = {
        what: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  our own
        for what, command in commands.items()
    }
    try:
        for _ in range(LOOKS):
            time.sleep(60 * minutes / LOOKS)
            for what, process in processes.items():
                if process.poll() is None:
                    watched[what].look(process.pid)
        for what, process in processes.items():
            process.send_signal(signal.SIGTERM)
            if process.wait(ENDING_SECONDS) != 128 + signal.SIGTERM:
                raise SystemExit(f"{what} ended with {process.returncode}")
    finally:
        for process in processes.values():
            process.kill()
    return watched


if __name__ == "__main__":
    typer.run(main)
