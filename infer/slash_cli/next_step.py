"""The last line of a command: what to do next, with the paths that are at hand."""

import shlex
from itertools import count
from pathlib import Path

from slash_cli.console import stdout


def say_next(*words: object) -> None:
    """Print the next command; `words` come after `slash`."""
    stdout().print(f"next: {shlex.join(map(str, ('slash', *words)))}")


def say_generate(bundle: Path) -> None:
    """Print how to hear a bundle."""
    say_next("generate", bundle, "--out", unused("clips"), "-n", 8, "--seconds", 5)


def unused(name: str) -> Path:
    """Return a path in the working directory where nothing is yet: `name`, or `name-2` and so on."""
    paths = (Path(name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if not path.exists())
