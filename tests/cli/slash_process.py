"""Runs the command line in a process of its own, as the tests of it do. `start` starts Python anew."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

SLASH = [sys.executable, "-m", "slash_cli"]
PRELOADED = [
    "slash_cli.generate_jobs",
    "slash_export.audition",
    "slash_export.previews",
    "slash_infer.gallery.page",
    "slash_train.loop",
    "torch._dynamo",  # which every optimiser imports
]


def slash(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end; in the current folder, if no other is given."""
    with tempfile.TemporaryDirectory() as log:
        return slash_preloaded(*arguments, cwd=cwd or Path.cwd(), log=Path(log))


def slash_preloaded(
    *arguments: object, cwd: Path, log: Path, broken: Mapping[int, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Do the same, with more to choose. A process that has imported everything, which takes seconds, is forked.

    Args:
        arguments: of the command line.
        cwd: where to run it.
        log: a folder elsewhere, for what it prints.
        broken: descriptors that cannot be written to, and why: `full`, `closed`, or `deaf`, a pipe without a reader.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    words, printed = ["slash", *map(str, arguments)], [log / "stdout", log / "stderr"]
    process = server.Process(target=_main, args=(words, cwd, dict(os.environ), printed, dict(broken or {})))
    process.start()
    process.join()
    assert process.exitcode is not None
    read = [path.read_text() if path.exists() else "" for path in printed]
    return subprocess.CompletedProcess(words, process.exitcode, *read)


def _main(
    words: list[str], cwd: Path, environment: Mapping[str, str], printed: list[Path], broken: Mapping[int, str]
) -> None:
    """Be the command line, in a process just forked."""
    for number, path in enumerate(printed, 1):
        match broken.get(number):
            case "closed":
                continue  # further down: what is opened until then would take its place
            case "deaf":
                unread, deaf = os.pipe()
                os.close(unread)
                os.dup2(deaf, number)
                os.close(deaf)
            case "full":
                os.dup2(os.open("/dev/full", os.O_WRONLY), number)
            case _:
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    for number, how in broken.items():
        if how == "closed":
            os.close(number)
    from slash_cli import main

    main()


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
