"""A bundle from a stranger: refused by name before any runtime opens it, unless it is exactly what it says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slash_infer import onnx_cpu
from slash_infer.bundle import MANIFEST, Bundle
from slash_infer.errors import UserError
from slash_infer.sampler import Sampler


@pytest.fixture(name="folder")
def _folder(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def opened(*_: object) -> None:
        raise AssertionError("a runtime opened the graph")

    monkeypatch.setattr(onnx_cpu, "open_session", opened)
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def _refused(folder: Path, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Sampler(Bundle(folder))


def test_an_altered_graph(folder: Path) -> None:
    path = folder / "frame_tier_1.onnx"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    _refused(folder, "frame_tier_1.onnx: was altered")


def test_a_truncated_graph(folder: Path) -> None:
    path = folder / "sample_tier.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    _refused(folder, "sample_tier.onnx: has another size")


def test_an_altered_initial_state(folder: Path) -> None:
    path = folder / "frame_tier_2.initial.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    _refused(folder, "frame_tier_2.initial.npy: was altered")


def test_a_missing_graph_and_a_symlink(folder: Path) -> None:
    path = folder / "sample_tier.onnx"
    elsewhere = path.rename(folder.parent / "elsewhere.onnx")
    _refused(folder, "sample_tier.onnx: is missing")
    path.symlink_to(elsewhere)
    _refused(folder, "sample_tier.onnx: is missing from the bundle or not a plain file")


@pytest.mark.parametrize("name", ["../x.onnx", "/etc/passwd", "a/b.onnx", "..", ".hidden", "", "a\\b.onnx", "a\nb"])
def test_a_path_in_a_name(folder: Path, name: str) -> None:
    _edit(folder, lambda content: content["variants"][1]["sample_tier"].update(file=name))
    _refused(folder, "variants.1.sample_tier.file")


def test_a_newer_schema(folder: Path) -> None:
    _edit(folder, lambda content: content.update(schema_version=2, surprise=1))
    _refused(folder, "schema version 2, newer than this Slash reads; upgrade")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema_version": 1}', "\x00", "[" * 100_000])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    _refused(folder, MANIFEST)


def test_an_unknown_field(folder: Path) -> None:
    _edit(folder, lambda content: content.update(surprise=1))
    _refused(folder, "surprise")


def test_clocks_that_do_not_fit_together(folder: Path) -> None:
    _edit(folder, lambda content: content["frame_tiers"][0].update(upsampling=3))
    _refused(folder, "upsampling times the one below")
    _edit(folder, lambda content: content["frame_tiers"][0].update(upsampling=4))
    _edit(folder, lambda content: content["sample_tier"].update(history=8))
    _refused(folder, "sample_tier.history must be 0 or the lowest")
