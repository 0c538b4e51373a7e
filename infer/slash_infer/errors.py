"""The one exception that means: the input or the request is at fault, not the program."""

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pydantic import ValidationError

_ARGUMENT = re.compile(r"`(\w+)`")
# Controls (C0, DEL, C1), marks and overrides of text direction, separators of lines, and halves of surrogate pairs,
# which is how Python reads names that are not UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 300  # characters of what others say that are repeated in a message


def printable(text: str) -> str:
    """Return `text` in one line that cannot steer a terminal: what is unprintable is written as Python escapes it.

    Names, files and other people's error messages may hold anything. Everything that is printed goes through here.
    """
    return _UNPRINTABLE.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # of a name that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(character)[1:-1]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
    """A fault in what was asked for or fed in, said in one printable line: `subject: fault; remedy`.

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
        return printable(subject + self.fault + remedy)

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
    return _shortened(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type's name if it has none."""
    return _shortened((str(error).strip().splitlines() or [type(error).__name__])[0])


def nearest(name: str, choices: Sequence[str]) -> str:
    """Return a question that suggests what was meant by a name: the choice it begins, or the nearest, or all."""
    begun = [choice for choice in choices if name and choice.startswith(name)]
    near = begun[:1] or difflib.get_close_matches(name[:100], choices, n=1)
    return f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(choices)}"
