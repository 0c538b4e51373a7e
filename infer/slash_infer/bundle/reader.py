"""Opens a bundle. No file of it is used before its sha256 has been compared with the manifest's.

Every file is read once, so the bytes that were compared are the bytes that are used.
"""

import hashlib
import io
import math
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from slash_infer.arguments import as_path, check_choice, check_kind, passed
from slash_infer.audio.ear.recordings import Recordings
from slash_infer.bundle.manifest import (
    FILE_LIMIT,
    MANIFEST,
    PRECISIONS,
    SCHEMA_VERSION,
    FileEntry,
    FrameTierEntry,
    Manifest,
    Variant,
)
from slash_infer.bundle.onnx_file import check_self_contained
from slash_infer.choices import Precision
from slash_infer.errors import UserError, first_fault
from slash_infer.files import check_exists, open_plain_file, parse_json, read_json_file

BOX = Path(__file__).resolve().parent.parent / "box"
"""The folder of the bundle that comes with Slash."""
MANIFEST_LIMIT = 1 << 20
"""Bytes of the largest manifest that is read: one has a few thousand."""


class Bundle:
    """A bundle opened for reading.

    Args:
        path: a directory made by `slash export`.

    Raises:
        UserError: it is not a bundle, a newer Slash made it, or a file is missing, altered or not allowed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path("path", path)
        self.manifest, self.manifest_sha256 = _read_manifest(self.path)
        self._contents: dict[FileEntry, bytes] = {}
        for entry in self.manifest.files():
            if entry not in self._contents:
                self._contents[entry] = self._checked(entry)
        for graph in dict.fromkeys(graph for variant in self.manifest.variants for graph in variant.files()):
            check_self_contained(self.read(graph), self.path / graph.file)
        for tier in self.manifest.frame_tiers:
            self._check_initial_state(tier)
        self.recordings = self._read_recordings()
        """The values of the recordings that the model has learned from; None if the bundle has none."""

    @classmethod
    def in_the_box(cls) -> Self:
        """Open the bundle that comes with Slash: rock guitar at 16 kHz, int8 (docs/box.md).

        Raises:
            UserError: a file of it is missing or altered.
        """
        try:
            return cls(BOX)
        except UserError as error:
            raise UserError(error.subject, error.fault, "install slash-audio again") from None

    @property
    def sample_rate(self) -> int:
        """Of what it generates, in Hz."""
        return self.manifest.sample_rate

    def read(self, entry: FileEntry) -> bytes:
        """Return the verified contents of a file.

        Raises:
            UserError: it is no file of this bundle.
        """
        if not isinstance(entry, FileEntry) or entry not in self._contents:
            raise UserError(passed("entry", entry), f"is no file of {self.path}", "take one from its manifest")
        return self._contents[entry]

    def variant(self, precision: Precision) -> Variant:
        """Return the graphs of one precision.

        Raises:
            UserError: the bundle does not have it, or there is no such precision.
        """
        check_choice("precision", precision, PRECISIONS)
        for variant in self.manifest.variants:
            if variant.precision == precision:
                return variant
        held = " or ".join(variant.precision for variant in self.manifest.variants)
        raise UserError(self.path, f"has no {precision} graphs", f"take {held}, or export it with {precision}")

    def initial_state(self, tier: FrameTierEntry) -> npt.NDArray[np.float32]:
        """Return a frame tier's learned initial state, float32 [S, L, D].

        Raises:
            UserError: it is no tier of this bundle.
        """
        if not isinstance(tier, FrameTierEntry) or tier not in self.manifest.frame_tiers:
            raise UserError(passed("tier", tier), f"is no frame tier of {self.path}", "take one from its manifest")
        header, shape = self._initial_state_layout(tier)
        return np.frombuffer(self.read(tier.initial_state), np.dtype("<f4"), offset=len(header)).reshape(shape)

    def _initial_state_layout(self, tier: FrameTierEntry) -> tuple[bytes, tuple[int, int, int]]:
        """Return the header that the file of an initial state begins with, and the shape of the array behind it."""
        shape = (len(tier.state_names), tier.layers, self.manifest.width)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return header.getvalue(), shape

    def _check_initial_state(self, tier: FrameTierEntry) -> None:
        path, content = self.path / tier.initial_state.file, self.read(tier.initial_state)
        header, shape = self._initial_state_layout(tier)
        if not content.startswith(header) or len(content) != len(header) + 4 * math.prod(shape):
            raise UserError(path, f"is not a .npy file of float32 {list(shape)}", "export the bundle again")
        if not np.isfinite(self.initial_state(tier)).all():
            raise UserError(path, "holds a state that is NaN or infinite", "export the bundle again")

    def _read_recordings(self) -> Recordings | None:
        entry, remedy = self.manifest.recordings, "export the bundle again"
        if entry is None:
            return None
        path, what = self.path / entry.file, "the values of recordings"
        try:
            return Recordings.model_validate(parse_json(self.read(entry), path, what, remedy))
        except ValidationError as error:
            raise UserError(path, f"cannot be read as {what} ({first_fault(error)})", remedy) from None

    def _checked(self, entry: FileEntry) -> bytes:
        path = self.path / entry.file
        if path.is_symlink() or not path.is_file():
            raise UserError(path, "is missing from the bundle or not a plain file", "export the bundle again")
        try:
            with open_plain_file(path, "a file of a bundle", "export the bundle again", limit=FILE_LIMIT) as file:
                size = os.fstat(file.fileno()).st_size
                content = file.read(entry.bytes) if size == entry.bytes else b""
        except OSError as error:
            raise UserError(path, f"cannot be read ({error.strerror})", "check its permissions") from None
        if len(content) != entry.bytes:
            raise UserError(path, "has another size than the manifest says", "export the bundle again")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise UserError(path, "was altered (its sha256 is not the manifest's)", "export the bundle again")
        return content


def check_bundle(value: object) -> None:
    """Raise `UserError` if what was passed as `bundle` is none, such as a bundle's path."""
    check_kind("bundle", value, Bundle, "open one with Bundle(path)")


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest of a bundle and its sha256."""
    path = folder / MANIFEST
    try:
        check_exists(folder, [MANIFEST])
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(path, "is not a plain file", "copy the bundle with the files themselves")
    except OSError as error:  # a name that is too long, for example
        raise UserError(folder, f"cannot be opened ({error.strerror})", "check the path") from None
    what, remedy = "a bundle", "make one with slash export"
    written = read_json_file(path, what, remedy, limit=MANIFEST_LIMIT)
    content: dict[str, Any] = parse_json(written, path, what, remedy)
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(path, f"has schema version {version}, newer than this Slash reads", "upgrade slash-audio")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise UserError(path, first_fault(error), "export the bundle again") from None
    return manifest, hashlib.sha256(written).hexdigest()
