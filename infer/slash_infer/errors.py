"""The one exception that means: the input or the request is at fault, not the program."""

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pydantic import ValidationError

_ARGUMENT = re.compile(r"`(\w+)`")


class Argument(NamedTuple):
    """An argument of a function, with what was passed."""

    name: str
    value: object = None

    def __str__(self) -> str:
        return self.under(f"`{self.name}`")

    def under(self, name: str) -> str:
        """Return the argument in words, under a name that may be another."""
        return name if self.value is None else f"{name} {self.value}"


class UserError(Exception):
    """A fault in what was asked for or fed in, said in one line: `subject: fault; remedy`.

    Arguments of the function that was called stand in backticks: `` `sample_rate` 500 ``. A front end that calls them
    by other names replaces them (`renamed`).

    Args:
        subject: what is at fault: a path, or an argument and its value. None where the fault says it.
        fault: what is wrong with it.
        remedy: what would help. None where the fault says it, as a range of allowed values does.
    """

    def __init__(self, subject: Argument | Path | str | None, fault: str, remedy: str | None = None) -> None:
        super().__init__(subject, fault, remedy)
        self.subject, self.fault, self.remedy = subject, fault, remedy

    def __str__(self) -> str:
        subject = "" if self.subject is None else f"{self.subject}: "
        remedy = "" if self.remedy is None else f"; {self.remedy}"
        return subject + self.fault + remedy

    def renamed(self, name_of: Callable[[str], str]) -> Self:
        """Return the same error with every argument under the name that `name_of` gives it."""
        subject = self.subject
        if isinstance(subject, Argument):
            subject = subject.under(name_of(subject.name))
        remedy = None if self.remedy is None else rename_arguments(self.remedy, name_of)
        return type(self)(subject, rename_arguments(self.fault, name_of), remedy)


def rename_arguments(text: str, name_of: Callable[[str], str]) -> str:
    """Return `text` with each argument that stands in backticks replaced by the name that `name_of` gives it."""
    return _ARGUMENT.sub(lambda match: name_of(match[1]), text)


def first_fault(error: "ValidationError") -> str:
    """Return the first fault that a validation found, in one line: the field, and what is wrong with it."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type's name if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(name: str, choices: Sequence[str]) -> str:
    """Return a question that suggests what was meant by a name: the choice it begins, or the nearest, or all."""
    begun = [choice for choice in choices if name and choice.startswith(name)]
    near = begun[:1] or difflib.get_close_matches(name[:100], choices, n=1)
    return f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(choices)}"
