"""The weights that come with Slash."""

from pathlib import Path

import pytest
import torch

from slash_infer.errors import UserError
from slash_train.box import MANIFEST, WEIGHTS, read_box, write_box
from slash_train.choices import names_the_box
from slash_train.origin import Origin
from slash_train.run import Run


@pytest.fixture
def box(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    origin = Origin.open(run.path)
    write_box(origin.trained, origin.ancestors, folder)
    return folder


def test_weights_come_back_in_half_precision(run: Run, box: Path) -> None:
    origin = Origin.open(run.path)
    trained, ancestors = read_box(box)
    assert ancestors == origin.ancestors and trained.preset == origin.trained.preset
    assert (trained.preset_name, trained.step) == (origin.trained.preset_name, origin.trained.step)
    for name, tensor in origin.trained.model.state_dict().items():
        found = trained.model.state_dict()[name]
        assert found.dtype == torch.float32 and torch.equal(found, tensor.half().float())


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (WEIGHTS, b"", "is damaged .*; install slash-audio again"),
        (WEIGHTS, None, "is missing; install slash-audio again"),
        (MANIFEST, b"{}", "preset: Field required; install slash-audio again"),
        (MANIFEST, b"{", "install slash-audio again"),
        (MANIFEST, None, "install slash-audio again"),
    ],
)
def test_what_is_damaged_is_refused(box: Path, file: str, content: bytes | None, says: str) -> None:
    if content is None:
        (box / file).unlink()
    else:
        (box / file).write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_box(box)


def test_a_folder_called_box_is_taken_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert names_the_box(Path("box")) and not names_the_box(tmp_path / "box")
    (tmp_path / "box").mkdir()
    assert not names_the_box(Path("box"))
    with pytest.raises(UserError, match="box: is not a run"):
        Origin.open(Path("box"))
