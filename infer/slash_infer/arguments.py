"""Checks of what callers pass: a wrong type or value is refused at once, under the name of its argument."""

import contextlib
import math
import operator
import os
import reprlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slash_infer.errors import Argument, UserError


def as_integer(name: str, value: object, lowest: int, highest: int) -> int:
    """Return an integer argument, of Python or numpy, as Python's.

    Raises:
        UserError: it is none (a bool is none), or out of range.
    """
    try:
        whole = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool | np.bool_):
        raise UserError(passed(name, value), "must be a whole number")
    if not lowest <= whole <= highest:
        raise UserError(passed(name, value), f"must be from {lowest} to {highest}")
    return whole


def as_number(name: str, value: object, lowest: float, highest: float = math.inf) -> float:
    """Return a real argument, of Python or numpy, as Python's float.

    Raises:
        UserError: it is none (a bool is none), is NaN, or out of range.
    """
    number = math.nan
    if (
        hasattr(value, "__float__")
        and not isinstance(value, bool | np.bool_ | np.complexfloating)
        and getattr(value, "ndim", 0) == 0
    ):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # of an object, of 10**400
            number = float(value)
    if not lowest <= number <= highest:
        bounds = f"{lowest:g} or more" if highest == math.inf else f"from {lowest:g} to {highest:g}"
        raise UserError(passed(name, value), f"must be {bounds}")
    return number


def as_path(name: str, value: object) -> Path:
    """Return a path that was passed as text or as a path.

    Raises:
        UserError: it is neither, or no file can have that name.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in os.fsdecode(value):
        raise UserError(passed(name, value), "must be the path of a file or folder")
    return Path(os.fsdecode(value))


def is_several(value: object) -> bool:
    """Return whether something is a sequence or a row of numbers, rather than one thing or a text."""
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or (
        isinstance(value, np.ndarray) and value.ndim == 1
    )


def check_bool(name: str, value: object) -> None:
    """Raise `UserError` if an argument is not True or False."""
    if not isinstance(value, bool):
        raise UserError(passed(name, value), "must be True or False")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise `UserError` if an argument is none of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise UserError(passed(name, value), f"must be {' or '.join(choices)}")


def check_kind(name: str, value: object, kind: type[Any], remedy: str) -> None:
    """Raise `UserError` if an argument is not of a type."""
    if not isinstance(value, kind):
        raise UserError(passed(name, value), f"must be a {kind.__name__}", remedy)


def passed(name: str, value: object) -> Argument:
    """Return an argument with what was passed, in a few words."""
    try:
        return Argument(name, reprlib.repr(value))
    except ValueError:  # an integer of thousands of digits
        return Argument(name, f"of type {type(value).__name__}")
