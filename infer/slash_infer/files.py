"""Outputs that are whole or absent: nothing half-written is ever left where a user asked for a result."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slash_infer.errors import UserError


def check_file_output(out: Path, *, force: bool, made_by: str | None = None) -> None:
    """Check, before any work is done, that the file `out` may be written.

    Args:
        out: the file about to be made.
        force: whether the user said `--force`.
        made_by: for a JSON file, what its `made_by` must say for `--force` to replace it.

    Raises:
        UserError: `out` exists and may not be replaced, or its parent is not a directory.
    """
    _check_place(out, force=force)
    if out.exists() and not out.is_file():
        raise UserError(out, "is not a file, and a file is to be written", "choose another `out`")
    if made_by is not None and (out.exists() and not _made_by(out, made_by)):
        raise UserError(out, f"was not made by {made_by}, so `force` does not replace it", "move it away yourself")


def check_directory_output(
    out: Path, *, force: bool, metadata: str, made_by: str, inputs: Sequence[Path] = ()
) -> None:
    """Check, before any work is done, that the directory `out` may be made, in place of one that stands there.

    Args:
        out: the directory about to be made.
        force: whether the user said `--force`.
        metadata: the name of the JSON file that such a directory holds.
        made_by: what that file's `made_by` says. A directory without it is never replaced, so that a slip of the
            hand cannot delete somebody's folder.
        inputs: what the command reads; none of it may lie in the directory it would replace.

    Raises:
        UserError: `out` exists and may not be replaced, or its parent is not a directory.
    """
    _check_place(out, force=force)
    if not (out.exists() or out.is_symlink()):
        return
    if out.is_symlink() or not out.is_dir() or not _made_by(out / metadata, made_by):
        raise UserError(out, f"was not made by {made_by}, so `force` does not replace it", "move it away yourself")
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise UserError(out, f"holds {path}, which is to be read", "choose another `out`")


def _check_place(out: Path, *, force: bool) -> None:
    if out.parent.exists() and not out.parent.is_dir():
        raise UserError(out, f"{out.parent} is a file, not a folder", "choose another `out`")
    if (out.exists() or out.is_symlink()) and not force:
        raise UserError(out, "already exists", "choose another `out` or pass `force` to replace it")


def _made_by(metadata: Path, command: str) -> bool:
    """Return whether a JSON file says that `command` made it."""
    try:
        return bool(read_json(metadata, "metadata", "remove it").get("made_by") == command)
    except UserError:
        return False


@contextmanager
def atomic_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out` that becomes `out` on success and vanishes on failure."""
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
    """Yield a temporary directory beside `out` that becomes `out` on success and vanishes on failure.

    What stood at `out` is moved aside for the swap, moved back if the swap fails, and removed after it.
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
    """Wait until a file or directory is on the disk, so that a power cut after the move cannot empty it."""
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
    """Make the folder `out` goes into; when the body fails, take away again what was made and is empty."""
    made = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        what: it should be, for the error: "a corpus", for example.
        remedy: what to do when it is not.

    Raises:
        UserError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path.parent, f"is not {what} (it has no {path.name})", remedy) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(path, f"cannot be read as {what} ({error})", remedy) from None
    if not isinstance(content, dict):
        raise UserError(path, f"cannot be read as {what} (not a JSON object)", remedy)
    return content
