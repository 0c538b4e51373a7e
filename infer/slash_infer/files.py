"""Outputs that are complete or absent: a half-written file or folder never appears at the path asked for."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from slash_infer.errors import UserError

JSON_LIMIT = 64 << 20
"""Bytes of the largest JSON file that is read: a corpus of a hundred thousand recordings has a third of it."""


def check_file_output(out: Path, *, force: bool, made_by: str | None = None, argument: str = "out") -> None:
    """Check, before any work is done, that the file `out` may be written.

    Args:
        out: the file to write.
        force: whether an existing file may be replaced.
        made_by: the command that makes such a JSON file; a file whose `made_by` differs is not replaced.
        argument: the caller's argument that says where to write, for the error.

    Raises:
        UserError: `out` exists and may not be replaced, or its parent is not a directory.
    """
    _check_place(out, argument, force=force)
    if out.exists() and not out.is_file():
        raise UserError(out, "is not a file, and a file is to be written", f"choose another `{argument}`")
    if made_by is not None and (out.exists() and not _made_by(out, made_by)):
        raise UserError(out, f"was not made by {made_by}, so `force` does not replace it", "move it away yourself")


def check_directory_output(
    out: Path, *, force: bool, metadata: str, made_by: str, inputs: Sequence[Path] = ()
) -> None:
    """Check, before any work is done, that the directory `out` may be made.

    Args:
        out: the directory to make.
        force: whether an existing directory may be replaced.
        metadata: name of the JSON file that such a directory holds.
        made_by: the command that makes such a directory. One whose metadata does not name it in `made_by` is never
            replaced, so a typing error cannot delete other folders.
        inputs: files and folders that will be read; none may be inside the directory to replace.

    Raises:
        UserError: `out` exists and may not be replaced, or its parent is not a directory.
    """
    _check_place(out, "out", force=force)
    if not (out.exists() or out.is_symlink()):
        return
    if out.is_symlink() or not out.is_dir() or not _made_by(out / metadata, made_by):
        raise UserError(out, f"was not made by {made_by}, so `force` does not replace it", "move it away yourself")
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise UserError(out, f"holds {path}, which is to be read", "choose another `out`")


def _check_place(out: Path, argument: str, *, force: bool) -> None:
    if out.parent.exists() and not out.parent.is_dir():
        raise UserError(out, f"{out.parent} is a file, not a folder", f"choose another `{argument}`")
    if (out.exists() or out.is_symlink()) and not force:
        raise UserError(out, "already exists", f"choose another `{argument}` or pass `force` to replace it")


def _made_by(metadata: Path, command: str) -> bool:
    """Return whether a JSON file names `command` as its maker."""
    try:
        return bool(read_json(metadata, "metadata", "remove it").get("made_by") == command)
    except UserError:
        return False


@contextmanager
def atomic_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out`. On success the file there is moved to `out`; on failure it is removed."""
    with _parent(out):
        part = out.parent / f".{out.name}.{os.getpid()}.part"
        try:
            yield part
            _flush(part)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_directory(out: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `out`. On success it is moved to `out`; on failure it is removed.

    An existing `out` is moved aside before, and removed afterwards, or moved back if the move fails.
    """
    with _parent(out):
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        part.chmod(0o755)
        try:
            yield part
            for path in part.rglob("*"):
                _flush(path)
            _swap_in(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file or directory is on the disk: else a power cut after the move could leave it empty."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap_in(part: Path, out: Path) -> None:
    if not out.exists():
        part.replace(out)
        return
    old = part.with_suffix(".old")
    try:
        out.replace(old)
        part.replace(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.replace(out)
        raise
    shutil.rmtree(old)


@contextmanager
def _parent(out: Path) -> Iterator[None]:
    """Make the parent folders of `out`. If the body fails, remove those that were made and are empty."""
    created = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in created:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, completely or not at all."""
    with atomic_file(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def open_plain_file(path: Path, what: str, remedy: str, *, limit: int) -> BinaryIO:
    """Open a plain file for reading, without waiting for a pipe or a device that stands in its place.

    Args:
        path: the file.
        what: what the file should be, for messages: "a corpus", for example.
        remedy: what to do if it is something else, for messages.
        limit: the most bytes that it may have.

    Raises:
        UserError: it is not a plain file, or it is larger than `limit`.
        OSError: it cannot be opened.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UserError(path, f"cannot be read as {what} (not a plain file)", remedy)
        if status.st_size > limit:
            raise UserError(
                path, f"cannot be read as {what} ({status.st_size:,} bytes, and {limit:,} are the most)", remedy
            )
    except BaseException:
        file.close()
        raise
    return file


def read_json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        what: what the file or its folder should be, for messages: "a corpus", for example.
        remedy: what to do if it is something else, for messages.

    Raises:
        UserError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        with open_plain_file(path, what, remedy, limit=JSON_LIMIT) as file:
            content = json.loads(file.read().decode("utf-8"))
    except FileNotFoundError:
        raise UserError(path.parent, f"is not {what} (it has no {path.name})", remedy) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(path, f"cannot be read as {what} ({error})", remedy) from None
    if not isinstance(content, dict):
        raise UserError(path, f"cannot be read as {what} (not a JSON object)", remedy)
    return content
