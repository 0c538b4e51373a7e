"""Outputs that are whole or absent: nothing half-written is ever left where a user asked for a result."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slash_infer.errors import UserError


def refuse_to_overwrite(out: Path, *, force: bool, marker: str | None = None) -> None:
    """Check, before any work is done, that `out` may be written.

    Args:
        out: the file or directory about to be made.
        force: whether the user said `--force`.
        marker: for a directory, the file that shows Slash made it. Without the marker a directory is never
            replaced, so that a slip of the hand cannot delete somebody's folder.

    Raises:
        UserError: `out` exists and may not be replaced, or its parent is not a directory.
    """
    if out.parent.exists() and not out.parent.is_dir():
        raise UserError(f"{out}: {out.parent} is a file, not a folder; choose another --out")
    if not (out.exists() or out.is_symlink()):
        return
    if not force:
        raise UserError(f"{out}: already exists; choose another --out or pass --force to replace it")
    if marker is None:
        if out.is_dir():
            raise UserError(f"{out}: is a folder and a file is to be written; choose another --out")
    elif out.is_symlink() or not out.is_dir() or not (out / marker).is_file():
        raise UserError(f"{out}: was not made by this command, so --force does not replace it; remove it yourself")


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out` that becomes `out` on success and vanishes on failure."""
    with _parent(out):
        part = out.parent / f".{out.name}.{os.getpid()}.part"
        try:
            yield part
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `out` that becomes `out` on success and vanishes on failure.

    What stood at `out` is moved aside for the swap and then removed, so a failure at any point leaves
    either the old directory or the new one.
    """
    with _parent(out):
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        part.chmod(0o755)
        try:
            yield part
            if out.exists():
                old = part.with_suffix(".old")
                out.replace(old)
                part.replace(out)
                shutil.rmtree(old)
            else:
                part.replace(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _parent(out: Path) -> Iterator[None]:
    """Make the folder `out` goes into; when the body fails, take it away again if it was made and is empty."""
    existed = out.parent.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not existed and not any(out.parent.iterdir()):
            out.parent.rmdir()
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object; `what` names it in the error.

    Raises:
        UserError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent}: is not {what} (it has no {path.name})") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as {what} ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: cannot be read as {what} (not a JSON object)")
    return content
