"""Outputs that are complete or absent: a half-written file or folder never appears at the path asked for."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slash_infer.errors import UserError
from slash_infer.files.faults import naming_errors
from slash_infer.files.moves import exchange, move_new
from slash_infer.files.outputs import DirectoryRule, FileRule
from slash_infer.files.parts import NEW, OLD, part_beside


@contextmanager
def atomic_file(
    out: Path, *, force: bool = False, made_by: str | None = None, argument: str = "out"
) -> Iterator[Path]:
    """Yield a temporary path. On success the file there is moved to `out`; on failure it is removed.

    What has appeared at `out` by then is looked at then, too.

    Args:
        out: the file.
        force: whether what is there may be replaced.
        made_by: as for `check_file_output`.
        argument: as for `check_file_output`.

    Raises:
        UserError: something is at `out` that may not be replaced, or it cannot be written.
    """
    rule = FileRule(force, made_by, argument)
    with naming_errors(out, argument), _parent(out), part_beside(out) as part:
        new = part / f"{NEW}{out.suffix}"
        yield new
        _settle(new, _mode(part) & 0o666)
        _put_in_place(new, out, rule)


@contextmanager
def atomic_directory(
    out: Path, *, force: bool = False, metadata: str | None = None, made_by: str | None = None
) -> Iterator[Path]:
    """Yield a temporary directory. On success it is moved to `out`; on failure it is removed.

    What has appeared at `out` by then is looked at then, too.

    Args:
        out: the directory.
        force: whether an existing directory may be replaced.
        metadata: as for `check_directory_output`; without it, any directory is replaced.
        made_by: as for `check_directory_output`.

    Raises:
        UserError: something is at `out` that may not be replaced, or it cannot be written.
    """
    rule = DirectoryRule(force, metadata, made_by)
    with naming_errors(out), _parent(out), part_beside(out) as part:
        new = part / NEW
        new.mkdir()
        try:
            yield new
        except UserError as error:
            if isinstance(error.subject, Path) and error.subject.is_relative_to(new):
                inside = out / error.subject.relative_to(new)
                raise type(error)(inside, error.fault, error.remedy) from error
            raise
        for path in (new, *new.rglob("*")):
            _settle(path, _mode(part) & (0o777 if path.is_dir() else 0o666))
        _put_in_place(new, out, rule)


def write_json(
    path: Path,
    content: dict[str, Any],
    *,
    force: bool = True,
    made_by: str | None = None,
    argument: str = "out",
) -> None:
    """Write `content` to `path`, completely or not at all. The other arguments are those of `atomic_file`.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot hold.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(path, force=force, made_by=made_by, argument=argument) as part:
        part.write_bytes(text.encode(errors="backslashreplace"))  # half a surrogate pair as JSON escapes it


def _put_in_place(new: Path, out: Path, rule: FileRule | DirectoryRule) -> None:
    """Move an output into its place. Nothing else is lost, whatever happens there meanwhile."""
    while True:
        with suppress(FileExistsError):
            move_new(new, out)
            return
        rule.check_replaced(out, out)
        with suppress(FileNotFoundError):  # it is gone again
            if exchange(new, out):
                _check_exchanged(new, out, rule)
            elif isinstance(rule, FileRule):
                new.replace(out)
            else:
                _replace_in_two_steps(new, out, rule)
            return


def _check_exchanged(old: Path, out: Path, rule: FileRule | DirectoryRule) -> None:
    """Check what came out: it may have taken the place just before. Then it goes back."""
    try:
        rule.check_replaced(old, out)
    except UserError:
        exchange(old, out)
        raise


def _replace_in_two_steps(new: Path, out: Path, rule: DirectoryRule) -> None:
    """Move the old directory aside, and back if the new one cannot take its place."""
    old = new.with_name(OLD)
    out.rename(old)
    try:
        rule.check_replaced(old, out)
        move_new(new, out)
    except BaseException:
        with suppress(FileExistsError):
            move_new(old, out)
        raise


def _settle(path: Path, mode: int) -> None:
    """Give a file or directory the mode that the umask allows, and wait until it is on the disk.

    Some writers make files that only their owner may read; and without the wait, a power cut after the move could
    leave the file empty.
    """
    given = _mode(path)
    if given & 0o777 != mode:
        path.chmod(given & ~0o777 | mode)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def _parent(out: Path) -> Iterator[None]:
    """Make the parent folders of `out`. If the body fails, remove those that were made and are empty."""
    created = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something else is in it by now
            for folder in created:
                folder.rmdir()
        raise
