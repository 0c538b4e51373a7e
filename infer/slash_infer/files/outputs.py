"""What may be written where: checked before any work is done, and once more when the output is moved into place."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slash_infer.errors import UserError
from slash_infer.files.faults import naming_errors
from slash_infer.files.json_files import read_json
from slash_infer.files.parts import sweep
from slash_infer.files.plain import real_path


def check_file_output(out: Path, *, force: bool, made_by: str | None = None, argument: str = "out") -> None:
    """Check, before any work is done, that the file `out` may be written, and sweep what killed processes left of it.

    Args:
        out: the file to write.
        force: whether an existing file may be replaced.
        made_by: the command that makes such a JSON file; a file whose `made_by` differs is not replaced.
        argument: the caller's argument that says where to write, for the error.

    Raises:
        UserError: `out` exists and may not be replaced, or cannot be written there.
    """
    sweep([out])
    FileRule(force, made_by, argument).check(out)


def check_directory_output(
    out: Path, *, force: bool, metadata: str, made_by: str, inputs: Sequence[Path] = ()
) -> None:
    """Check, before any work is done, that the directory `out` may be made; sweep what killed processes left of it.

    Args:
        out: the directory to make.
        force: whether an existing directory may be replaced.
        metadata: name of the JSON file that such a directory holds.
        made_by: the command that makes such a directory. One whose metadata does not name it in `made_by` is never
            replaced, so a typing error cannot delete other folders.
        inputs: files and folders that will be read; none may be inside the directory to replace.

    Raises:
        UserError: `out` exists and may not be replaced, or cannot be made there.
    """
    sweep([out])
    DirectoryRule(force, metadata, made_by).check(out)
    if out.exists():
        for path in inputs:
            if real_path(path).is_relative_to(real_path(out)):
                raise UserError(out, f"holds {path}, which is to be read", "choose another `out`")


@dataclass(frozen=True)
class FileRule:
    """Which files an output may replace."""

    force: bool
    made_by: str | None = None
    """The only command whose JSON files are replaced; None for all plain files."""
    argument: str = "out"

    def check(self, out: Path) -> None:
        """Check that a file may be written to `out`.

        Raises:
            UserError: it may not.
        """
        check_place(out, self.argument)
        self.check_replaced(out, out)

    def check_replaced(self, there: Path, out: Path) -> None:
        """Check that what is at `there` may give way to the output `out`.

        Raises:
            UserError: it may not.
        """
        if not os.path.lexists(there):
            return
        if not self.force:
            raise UserError(out, "already exists", f"choose another `{self.argument}` or pass `force` to replace it")
        if there.is_symlink():  # moved with it, a relative link would lead elsewhere
            there = out.parent / there.readlink()
        if there.exists() and not there.is_file():
            raise UserError(out, "is not a file, and a file is to be written", f"choose another `{self.argument}`")
        if self.made_by is not None and not _made_by(there, self.made_by):
            raise UserError(
                out, f"was not made by {self.made_by}, so `force` does not replace it", "move it away yourself"
            )


@dataclass(frozen=True)
class DirectoryRule:
    """Which directories an output may replace."""

    force: bool
    metadata: str | None = None
    """Name of the JSON file in the directories that are replaced; None for all directories."""
    made_by: str | None = None
    """What that file must say, in `made_by`."""

    def check(self, out: Path) -> None:
        """Check that a directory may be made at `out`.

        Raises:
            UserError: it may not.
        """
        check_place(out, "out")
        self.check_replaced(out, out)

    def check_replaced(self, there: Path, out: Path) -> None:
        """Check that what is at `there` may give way to the output `out`.

        Raises:
            UserError: it may not.
        """
        if not os.path.lexists(there):
            return
        if not self.force:
            raise UserError(out, "already exists", "choose another `out` or pass `force` to replace it")
        is_directory = there.is_dir() and not there.is_symlink()
        if self.metadata is None:
            if not is_directory:
                raise UserError(out, "is not a folder, and a folder is to be made", "choose another `out`")
        elif not (is_directory and _made_by(there / self.metadata, self.made_by or "")):
            raise UserError(
                out, f"was not made by {self.made_by}, so `force` does not replace it", "move it away yourself"
            )


def check_place(out: Path, argument: str) -> None:
    """Check that something may be written at `out`, whether or not something is there.

    Raises:
        UserError: it may not.
    """
    try:
        str(out).encode()
    except UnicodeEncodeError:  # JSON, which says where things are, could not hold it
        raise UserError(f"{str(out)!r}", "is not a name in UTF-8", f"choose another `{argument}`") from None
    if out.name in ("", ".."):
        raise UserError(out, "already exists", f"choose another `{argument}`")
    with naming_errors(out, argument):
        with suppress(FileNotFoundError, NotADirectoryError):
            out.lstat()  # the name may be too long
        folder = next(folder for folder in out.parents if os.path.lexists(folder))
        if not folder.is_dir():
            raise UserError(out, f"{folder} is a file, not a folder", f"choose another `{argument}`")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(
                out,
                f"cannot be written ({folder} is not writable)",
                f"make it writable, or choose another `{argument}`",
            )


def _made_by(metadata: Path, command: str) -> bool:
    """Return whether a JSON file names `command` as its maker."""
    try:
        return bool(read_json(metadata, "metadata", "remove it").get("made_by") == command)
    except UserError:
        return False
