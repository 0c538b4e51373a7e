"""Runs the command line in a process of its own, as the tests of it do."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

SLASH = [sys.executable, "-m", "slash_infer"]


def slash(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run([*SLASH, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


def start(*arguments: object, **options: Any) -> subprocess.Popen[Any]:
    """Start it as a terminal would, which heeds SIGINT even where the tests themselves run in the background."""
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([*SLASH, *map(str, arguments)], preexec_fn=heed, **options)  # noqa: PLW1509


def wait_for(path: Path, pattern: str | None = None) -> None:
    """Wait until `path` is there, or, with a pattern, something in it."""
    deadline = time.monotonic() + 60
    while not (path.exists() and (pattern is None or any(path.glob(pattern)))):
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.05)
