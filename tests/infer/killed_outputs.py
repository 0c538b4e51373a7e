"""Kills processes that make outputs before every single thing that they do to the disk, and looks at what is left.

python tests/infer/killed_outputs.py FOLDER

Prints, as JSON, how many were killed in what. What is made must be there whole, or not at all, or as it was before;
and when it is made again, that must succeed and leave nothing else.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from slash_infer.files import (
    atomic_directory,
    atomic_file,
    check_directory_output,
    check_file_output,
    moves,
    sweep,
    write_json,
)

WATCHED = ("open", "os.", "shutil.", "fcntl.")  # of Python's audit events
NO_RENAMEAT2 = None


def make_directory(out: Path, text: str) -> None:
    check_directory_output(out, force=True, metadata="made.json", made_by="a test")
    with atomic_directory(out, force=True, metadata="made.json", made_by="a test") as part:
        write_json(part / "made.json", {"made_by": "a test"})
        (part / "inner").mkdir()
        (part / "inner" / "text").write_text(text)


def read_directory(out: Path) -> str:
    assert json.loads((out / "made.json").read_text()) == {"made_by": "a test"}
    return (out / "inner" / "text").read_text()


def make_file(out: Path, text: str) -> None:
    check_file_output(out, force=True)
    with atomic_file(out, force=True) as part:
        part.write_text(text)


def kill_everywhere(folder: Path, make: Callable[[Path, str], None], read: Callable[[Path], str]) -> int:
    """Return how many processes were killed."""
    kills = 0
    for old in (None, "old"):
        at = 0
        while True:
            place = folder / "place"
            place.mkdir()
            out = place / "out"
            if old is not None:
                make(out, old)
            if not killed(partial(make, out, "new"), at):
                shutil.rmtree(place)
                break
            kills, at = kills + 1, at + 1
            if moves.RENAMEAT2 is not NO_RENAMEAT2 or out.exists():
                assert (read(out) if out.exists() else None) in (old, "new")
            sweep([out])
            assert (read(out) if out.exists() else None) in (old, "new")
            make(out, "again")
            assert read(out) == "again" and [path.name for path in place.iterdir()] == ["out"]
            shutil.rmtree(place)
    return kills


def killed(work: Callable[[], None], at: int) -> bool:
    """Do some work in a process that is killed before its event number `at`; return whether it had so many."""
    child = os.fork()
    if not child:
        seen = 0

        def see() -> None:
            nonlocal seen
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        def watch(event: str, _: object) -> None:
            if event.startswith(WATCHED) and event != "os.kill":
                see()

        sys.addaudithook(watch)
        watch_renames(see)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def watch_renames(see: Callable[[], None]) -> None:
    """Call `see` before every call of renameat2, of which Python's audit events say nothing."""
    genuine = moves.RENAMEAT2
    if genuine is not NO_RENAMEAT2:

        def rename(*arguments: object) -> int:
            see()
            return int(genuine(*arguments))

        moves.RENAMEAT2 = rename


if __name__ == "__main__":
    counts = {}
    for system in ("renameat2", "no renameat2"):
        if system == "no renameat2":
            moves.RENAMEAT2 = NO_RENAMEAT2
        for kind, make, read in (("folder", make_directory, read_directory), ("file", make_file, Path.read_text)):
            counts[f"{kind}, {system}"] = kill_everywhere(Path(sys.argv[1]), make, read)
    sys.stdout.write(json.dumps(counts))
