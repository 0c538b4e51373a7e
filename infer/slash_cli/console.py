"""How commands talk to the user: progress on stderr, results on stdout."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slash_infer.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.table import Table

BAR_WIDTH = 10
"""Of progress, in columns. Short lines are not wrapped where a terminal is made narrower, which would leave parts."""
OPTIONAL_PACKAGES = {
    "torch": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "onnxruntime": "cpu",
    "matplotlib": "plot",
    "jinja2": "plot",
    "sounddevice": "play",
    "pyloudnorm": "loudness",
}


@contextmanager
def optional_packages(command: str) -> Iterator[None]:
    """If the body imports an optional package that is missing, say what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in OPTIONAL_PACKAGES:
            raise
        extra = OPTIONAL_PACKAGES[package]
        raise UserError(
            None, f"{command} needs {package}, which is not installed", f"pip install 'slash-audio[{extra}]'"
        ) from None


def stderr() -> "Console":
    """Return a console on stderr, for progress."""
    from slash_cli.terminal import PlainConsole

    return PlainConsole(to_stderr=True)


def progress_bar(*columns: "ProgressColumn") -> "Progress":
    """Return a progress display that disappears when it is done, and shows nothing where stderr is no terminal."""
    from slash_cli.terminal import PlainProgress

    console = stderr()
    return PlainProgress(*columns, console=console, transient=True, disable=not console.is_terminal)


def stdout() -> "Console":
    """Return a console on stdout, for results."""
    from slash_cli.terminal import PlainConsole

    return PlainConsole()


def table(title: str, *columns: str) -> "Table":
    """Return an empty table. The first column is aligned left, the others, of numbers, right."""
    from rich import box
    from rich.table import Table

    rows = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        rows.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    return rows


def duration(seconds: float) -> str:
    """Return a duration as people write it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
