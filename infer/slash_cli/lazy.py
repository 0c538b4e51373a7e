"""Commands that are imported when they are used, as Click's documentation has it under "Lazily loading subcommands".

A command is the function of its own name in the module of its own name. It says its errors in terms of its options.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from slash_infer.errors import UserError

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
    "gallery",
    "info",
    "demo",
)


class Command(TyperCommand):
    """A command whose errors name its options where the library names its arguments."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command.

        Raises:
            UserError: with the options of this command.
        """
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise error.renamed(partial(option_of, self)) from error


def option_of(command: TyperCommand, argument: str) -> str:
    """Return the option that stands for an argument of the library: `--sample-rate` for `sample_rate`."""
    for parameter in command.params:
        if parameter.name == argument and parameter.opts[0].startswith("-"):
            return str(parameter.opts[0])
    return f"--{argument.replace('_', '-')}"


class _LazyCommands(Mapping[str, TyperCommand]):
    """The commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> TyperCommand:
        if name not in COMMANDS:
            raise KeyError(name)
        module = import_module(f"slash_cli.{name}")
        single = typer.Typer(
            rich_markup_mode=None,
            add_completion=False,
            pretty_exceptions_enable=False,
        )
        single.command(name, cls=Command)(getattr(module, name))
        command = typer.main.get_command(single)
        if not isinstance(command, TyperCommand):
            raise TypeError(f"{name} is not a single command")
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The root command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _LazyCommands()

    def list_commands(self, ctx: typer.Context) -> list[str]:  # noqa: ARG002
        """Return the names without importing the commands."""
        return list(COMMANDS)
