"""Opens a bundle. No file of it is used before its sha256 has been compared with the manifest's.

Every file is read once, so the bytes that were compared are the bytes that are used.
"""

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from slash_infer.bundle.manifest import MANIFEST, SCHEMA_VERSION, FileEntry, FrameTierEntry, Manifest, Variant
from slash_infer.bundle.onnx_file import check_self_contained
from slash_infer.choices import Precision
from slash_infer.errors import UserError, first_fault
from slash_infer.files import read_json


class Bundle:
    """A bundle opened for reading.

    Args:
        path: a directory made by `slash export`.

    Raises:
        UserError: it is not a bundle, a newer Slash made it, or a file is missing, altered or not allowed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        manifest = path / MANIFEST
        if manifest.is_symlink() or (manifest.exists() and not manifest.is_file()):
            raise UserError(manifest, "is not a plain file", "copy the bundle with the files themselves")
        self.manifest = _read_manifest(manifest)
        self.manifest_sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
        self._contents = {entry.file: self._checked(entry) for entry in self.manifest.files()}
        for variant in self.manifest.variants:
            for graph in variant.files():
                check_self_contained(self.read(graph), path / graph.file)

    def read(self, entry: FileEntry) -> bytes:
        """Return the verified contents of a file."""
        return self._contents[entry.file]

    def variant(self, precision: Precision) -> Variant:
        """Return the graphs of one precision.

        Raises:
            UserError: the bundle does not have it.
        """
        for variant in self.manifest.variants:
            if variant.precision == precision:
                return variant
        raise UserError(self.path, f"has no {precision} graphs", f"export it again with `precision` {precision}")

    def initial_state(self, tier: FrameTierEntry) -> npt.NDArray[np.float32]:
        """Return a frame tier's learned initial state, float32 [S, L, D]."""
        shape = (len(tier.state_names), tier.layers, self.manifest.width)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        content, begin = self.read(tier.initial_state), header.tell()
        if not content.startswith(header.getvalue()) or len(content) != begin + 4 * math.prod(shape):
            path = self.path / tier.initial_state.file
            raise UserError(path, f"is not a .npy file of float32 {list(shape)}", "export the bundle again")
        return np.frombuffer(content, np.dtype("<f4"), offset=begin).reshape(shape)

    def _checked(self, entry: FileEntry) -> bytes:
        path = self.path / entry.file
        if path.is_symlink() or not path.is_file():
            raise UserError(path, "is missing from the bundle or not a plain file", "export the bundle again")
        if path.stat().st_size != entry.bytes:
            raise UserError(path, "has another size than the manifest says", "export the bundle again")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise UserError(path, "was altered (its sha256 is not the manifest's)", "export the bundle again")
        return content


def _read_manifest(path: Path) -> Manifest:
    content: dict[str, Any] = read_json(path, "a bundle", "make one with slash export")
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(path, f"has schema version {version}, newer than this Slash reads", "upgrade slash-audio")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise UserError(path, first_fault(error), "export the bundle again") from None
