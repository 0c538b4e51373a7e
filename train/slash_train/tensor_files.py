"""Files of tensors (safetensors), checked when read: checksum, names, shapes, types, and that all is finite."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from slash_infer.errors import UserError
from slash_infer.files import open_plain_file

KIND = "a file of a checkpoint"
RESTORE = "restore it from a copy of the run"
HEADER = 1 << 20
"""Bytes that a file of tensors may have besides their values."""


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a value that is not finite, if there is one."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that may be on any device as they can be saved."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Write tensors that are on the host, and return the SHA-256 of the file.

    Raises:
        UserError: the disk is full, or cannot be written to.
    """
    content = save(dict(tensors))
    write_bytes(content, path)
    return hashlib.sha256(content).hexdigest()


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file of a checkpoint.

    Raises:
        UserError: the disk is full, or cannot be written to.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(path, f"cannot be written ({error.strerror})", "make room and go on with `resume`") from None


def read_tensors(path: Path, sha256: str, expected: Mapping[str, Tensor], remedy: str = RESTORE) -> dict[str, Tensor]:
    """Read tensors to the host.

    Args:
        path: the file.
        sha256: its checksum.
        expected: tensors of the names, shapes and types that it holds.
        remedy: of whatever is wrong with it.

    Raises:
        UserError: the file is missing or damaged, holds other tensors, or values that are not finite.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    content = read_checked(path, sha256, limit=size + HEADER, remedy=remedy)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(path, f"is damaged ({error})", remedy) from None
    if unlike := _first_unlike(tensors, expected):
        raise UserError(path, f"does not fit the configuration beside it ({unlike})", remedy)
    if broken := first_not_finite(tensors):
        raise UserError(path, f"holds values that are not finite ({broken})", remedy)
    return tensors


def read_checked(path: Path, sha256: str, *, limit: int, remedy: str = RESTORE) -> bytes:
    """Read a file of a checkpoint.

    Args:
        path: the file.
        sha256: its checksum.
        limit: the most bytes that it may have.
        remedy: of whatever is wrong with it.

    Raises:
        UserError: the file is missing or not a plain file, or it is not what was saved.
    """
    try:
        with open_plain_file(path, KIND, remedy, limit=limit) as file:
            content = file.read()
    except FileNotFoundError:
        raise UserError(path, "is missing", remedy) from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", remedy) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(path, "is damaged (its checksum is another than when it was saved)", remedy)
    return content


def _first_unlike(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with the first tensor that is missing, unexpected, or of another shape or type."""
    for name, tensor in expected.items():
        if name not in tensors:
            return f"{name} is missing"
        if (found := _form(tensors[name])) != (wanted := _form(tensor)):
            return f"{name} is {found}, not {wanted}"
    return next((f"{name} is unexpected" for name in tensors if name not in expected), None)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def scalar() -> Tensor:
    """Return a float32 tensor without dimensions, to expect one."""
    return torch.zeros(())
