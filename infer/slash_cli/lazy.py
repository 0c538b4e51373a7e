"""Commands that are imported when they are used (Click's documentation: "Lazily loading subcommands").

Each command is the function of its name in the module of its name. Its errors name its options.
"""

from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from slash_cli.std_streams import output_fault
from slash_infer.errors import UserError, nearest

COMMANDS = (
    "prepare",
    "train",
    "evaluate",
    "export",
    "build",
    "verify",
    "generate",
    "bench",
    "audition",
    "compare",
    "gallery",
    "info",
    "demo",
)
PRINTING = ("evaluate", "compare", "verify", "bench", "info")
"""Commands whose result is what they print. What the others print are messages about the files that they make."""


class LazyGroup(TyperGroup):
    """The root command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name) for name in COMMANDS}  # for their names: `get_command` loads them

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(None, f"No such command '{args[0][:60]}'", nearest(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> "Command | None":
        return load_command(cmd_name) if cmd_name in COMMANDS else None


class Command(TyperCommand):
    """A command whose errors name its options where the library names its arguments."""

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
        except UserError as error:
            raise error.renamed(partial(option_of, self)) from error
        if self.name not in PRINTING:
            output_fault()  # is no fault of theirs
        return result


def load_command(name: str) -> Command:
    """Import the command called `name`."""
    function = getattr(import_module(f"slash_cli.{name}"), name)
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(name, cls=Command)(function)
    command = typer.main.get_command(app)
    if not isinstance(command, Command):
        raise TypeError(f"{name} is a group of commands")
    return command


def option_of(command: TyperCommand, argument: str) -> str:
    """Return the option that stands for an argument of the library: `--sample-rate` for `sample_rate`.

    If the command has none, it is the option of the first other command that does: what to do about an error may take
    another command. If none does, it is the argument's name.
    """
    for candidate in chain([command], map(load_command, COMMANDS)):
        for parameter in candidate.params:
            if parameter.name == argument and parameter.opts[0].startswith("-"):
                return str(parameter.opts[0])
    return argument
