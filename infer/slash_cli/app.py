"""The root command, and how every command ends: the exit code and the one line on stderr.

0 done; 2 the input or the request is at fault (one line, no traceback); 128 + n stopped by signal n; 1 a defect of
Slash.
"""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from slash_cli.lazy import LazyGroup
from slash_infer import __version__
from slash_infer.errors import UserError, printable

app = typer.Typer(
    name="slash",
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"slash {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _slash(
    context: typer.Context,
    _version_option: Annotated[
        bool, typer.Option("--version", callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Learn to play from recordings: train a SampleRNN on a folder of audio and generate more of it.

    \b
    slash prepare recordings/ --out corpus
    slash train corpus --out run --preset live --minutes 30
    slash evaluate run corpus
    slash export run --out bundle
    slash generate bundle --out clip.wav --seconds 10
    slash bench bundle
    slash audition run --out audition
    slash gallery run audition clips --out page
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _terminate)
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        code = _complain(str(error))
    except TyperException as error:
        code = _complain(error.format_message())
    except OSError as error:
        if error.strerror is None:
            raise
        code = _complain(f"{error.filename or 'a file'}: {error.strerror}")
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("slash: stopped", err=True)
        code = 130
    sys.exit(code or 0)


def _complain(message: str) -> int:
    """Print one line on stderr and return the exit code for faults of the input or the request."""
    typer.echo(f"slash: {printable(' '.join(message.split()))}", err=True)
    return 2


def _terminate(number: int, _: FrameType | None) -> None:
    """Exit by an exception, so that every `finally` runs."""
    sys.exit(128 + number)
