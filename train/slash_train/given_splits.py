"""Splits that are given: lists of names, or folders called train, valid and test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slash_infer.errors import UserError
from slash_infer.files import open_plain_file
from slash_train.choices import Split
from slash_train.corpus import SPLITS

LONGEST_LIST = 1 << 24  # bytes


def listed_splits(paths: Sequence[Path], lists: Mapping[Split, Path]) -> dict[Path, Split]:
    """Return the split of every recording: that of the list that names it, or else training.

    Args:
        paths: the recordings.
        lists: text files with one name a line, of a file with as many of its parent folders as it takes to tell it
            from others.

    Raises:
        UserError: a list cannot be read, or names what is no recording, several, or one that is listed already.
    """
    of_name: dict[str, list[Path]] = {}
    for path in paths:
        of_name.setdefault(path.name, []).append(path)
    splits = dict[Path, Split]()
    for split, file in lists.items():
        for number, name in _lines(file):
            parts = Path(name).parts
            same = of_name.get(parts[-1], []) if parts else []
            named = [path for path in same if path.parts[-len(parts) :] == parts]
            if len(named) != 1:
                fault = f"is the end of {len(named)} recordings' paths" if named else "is none of the recordings"
                remedy = "write more of its path" if named else "correct it, or take it out"
                raise UserError(file, f"line {number}: '{name}' {fault}", remedy)
            if named[0] in splits:
                raise UserError(file, f"line {number}: '{name}' is listed already", "list it once")
            splits[named[0]] = split
    return {path: splits.get(path, "train") for path in paths}


def folder_splits(paths: Sequence[Path], sources: Sequence[Path]) -> dict[Path, Split] | None:
    """Return the split of every recording by the folder it is in, or None if folders do not say it.

    They do if every recording is in one called train, valid or test, and not all are in the same: a folder inside a
    source, or else the source itself, or the folder around a source that is a file.
    """
    found = dict[Path, Split]()
    for path in paths:
        source = next(source for source in sources if path.is_relative_to(source))
        around = source.parent if path == source else source
        if (split := _outermost((*path.relative_to(around).parts[:-1], around.name))) is not None:
            found[path] = split
    return found if len(found) == len(paths) and len(set(found.values())) > 1 else None


def _outermost(folders: Sequence[str]) -> Split | None:
    """Return the first split that a folder is called after."""
    return next((split for name in folders for split in SPLITS if name == split), None)


def _lines(file: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that are not blank, with their numbers.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open_plain_file(file, "a list of recordings", "check the path", limit=LONGEST_LIST) as opened:
            text = opened.read().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(file, "no such file", "check the path") from None
    except OSError as error:
        raise UserError(file, f"cannot be read ({error.strerror})", "check its permissions") from None
    except UnicodeDecodeError:
        raise UserError(file, "is not UTF-8 text", "write one name a line") from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
