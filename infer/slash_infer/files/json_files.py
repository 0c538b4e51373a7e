"""Reads JSON objects."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from slash_infer.errors import UserError, first_line
from slash_infer.files.plain import open_plain_file

JSON_LIMIT = 64 << 20
"""Bytes of the largest JSON file that is read: a corpus of a hundred thousand recordings has a third of it."""


def check_exists(path: Path, holding: Sequence[str] = ()) -> None:
    """Check that a file or folder that was named is there.

    Args:
        path: the file or folder.
        holding: files, one of which such a folder has: the folders beside it that have one may be what was meant.

    Raises:
        UserError: it does not exist; the message names what has nearly the same name.
    """
    if path.exists():
        return
    folder = path.parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    for name in get_close_matches(path.name, beside):
        if any((folder / name / held).is_file() for held in holding):
            raise UserError(path, "does not exist", f"did you mean {folder / name}?")
    raise UserError(path, "does not exist", "check the path")


def read_json(path: Path, what: str, remedy: str, *, limit: int = JSON_LIMIT) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        what: what the file or its folder should be, for messages: "a corpus", for example.
        remedy: what to do if it is something else, for messages.
        limit: the most bytes that it may have.

    Raises:
        UserError: the file is missing, unreadable, too large, or not a JSON object.
    """
    return parse_json(read_json_file(path, what, remedy, limit=limit), path, what, remedy)


def read_json_file(path: Path, what: str, remedy: str, *, limit: int) -> bytes:
    """Read a file for `parse_json`. The arguments and errors are those of `read_json`."""
    try:
        with open_plain_file(path, what, remedy, limit=limit) as file:
            return file.read()
    except FileNotFoundError:
        check_exists(path.parent, [path.name])
        raise UserError(path.parent, f"is not {what} (it has no {path.name})", remedy) from None
    except NotADirectoryError:
        raise UserError(path.parent, f"is a file, and {what} is a folder", remedy) from None
    except OSError as error:
        raise UserError(path, f"cannot be read as {what} ({error.strerror})", remedy) from None


def parse_json(content: bytes, path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Parse a JSON object. The arguments and errors are those of `read_json`."""
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"cannot be read as {what} ({first_line(error)})", remedy) from None
    if not isinstance(parsed, dict):
        raise UserError(path, f"cannot be read as {what} (not a JSON object)", remedy)
    return parsed
