"""The root command, and how every command ends: the exit code and the one line on stderr.

0 done; 2 the input or the request is at fault (one line, no traceback); 128 + n stopped by signal n; 1 a defect of
Slash.
"""

from typing import Annotated

import typer
from typer.exceptions import TyperException

from slash_cli import stopping
from slash_cli.lazy import LazyGroup
from slash_cli.std_streams import open_standard_streams, output_fault
from slash_infer import __version__
from slash_infer.errors import UserError, printable
from slash_infer.files import any_fault

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
    slash generate --out riff.wav
    slash prepare recordings/ --out corpus
    slash train corpus --out run --init-from box --minutes 10
    slash evaluate run corpus
    slash export run --out bundle
    slash generate bundle --out clips -n 8 --seconds 5
    slash bench bundle
    slash audition run --out audition
    slash compare clips --to corpus
    slash gallery run audition clips --out page
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> None:
    """Run the command line and exit."""
    open_standard_streams()
    code = 0
    try:
        code = app(standalone_mode=False) or 0
    except UserError as error:
        code = _complain(str(error))
    except TyperException as error:
        code = _complain(error.format_message())
    except BaseException as error:
        if stopping.received() is None:
            code = _code_for(error)
    if (number := stopping.received()) is not None:
        typer.echo("slash: stopped", err=True)
        code = 128 + number
    elif code == 0 and (fault := output_fault()) is not None:
        code = _complain(f"standard output: cannot be written ({fault.strerror}); is the disk full, or is it closed?")
    stopping.finish(code)


def _code_for(error: BaseException) -> int:
    """Return the exit code for an exception of Python's, and complain; raise it again if it means a defect."""
    match error:
        case OSError(strerror=str()):
            return _complain(str(any_fault(error)))
        case KeyboardInterrupt() | typer.Abort():
            typer.echo("slash: stopped", err=True)
            return 130
        case _:
            raise error


def _complain(message: str) -> int:
    """Print one line on stderr and return the exit code for faults of the input or the request."""
    typer.echo(f"slash: {printable(' '.join(message.split()))}", err=True)
    return 2
