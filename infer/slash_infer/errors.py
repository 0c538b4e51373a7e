"""The one exception that means: the input or the request is at fault, not the program."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """A fault in what was asked for or fed in.

    The message is one line that names the file or option, the fault, and the remedy. The command line
    prints it alone and exits with code 2.
    """


def first_fault(error: "ValidationError") -> str:
    """Say the first fault of a validation in one line: which field, and what is wrong with it."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, or, where it says nothing, its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]
