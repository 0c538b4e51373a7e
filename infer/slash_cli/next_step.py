"""The last line of a command: what to do next, with the paths that are at hand."""

import os
import shlex
from itertools import count
from pathlib import Path

from slash_cli.console import stdout


def say_next(*words: object) -> None:
    """Print the next command; `words` come after `slash`. Paths are taken for options if they begin like these."""
    safe = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    stdout().print(f"next: {shlex.join(('slash', *safe))}")


def say_generate(bundle: Path | None) -> None:
    """Print how to hear a bundle; None for the one that comes with Slash."""
    say_next("generate", *([] if bundle is None else [bundle]), "--out", unused("clips"), "-n", 8, "--seconds", 5)


def say_export(run: Path, checkpoint: str = "best") -> None:
    """Print how to make a bundle of a run."""
    chosen = [] if checkpoint == "best" else ["--checkpoint", checkpoint]
    say_next("export", run, "--out", unused("bundle"), *chosen)


def say_gallery(clips: Path) -> None:
    """Print how to listen to clips."""
    say_next("gallery", clips, "--out", unused("page"))


def say_resume(corpus: Path, run: Path, minutes: int | None = None, steps: int | None = None) -> None:
    """Print how to go on with a run, for as long as it still was to last."""
    rest = [*(("--minutes", minutes) if minutes else ()), *(("--steps", steps) if steps else ())]
    say_next("train", corpus, "--out", run, "--resume", *rest)


def unused(name: str) -> Path:
    """Return a path in the working directory where nothing is yet: `name`, or `name-2` and so on."""
    paths = (Path(name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if not os.path.lexists(path))
