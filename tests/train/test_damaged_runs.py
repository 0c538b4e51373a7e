"""Files of a run that are damaged, or that somebody made: refused when they are read, by name, in one line."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ON_CPU
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from slash_cli.app import app
from slash_export.audition import audition
from slash_export.bundle_writer import export
from slash_infer.errors import UserError
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train import loop
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.run import Run

FILES = ("model.safetensors", "ema.safetensors", "optimiser.safetensors", "state.safetensors", "trainer_state.json")


@pytest.fixture(scope="module", name="begun")
def _begun(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    preset = load_preset("tiny", ["training.ema_decay=0.9"])
    out = tmp_path_factory.mktemp("begun") / "run"
    return loop.train(corpus, out, "tiny", preset, limits=loop.Limits(2), context=ON_CPU).run


@pytest.fixture(name="damaged")
def _damaged(begun: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun.path, tmp_path / "run"))


def _checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "step-00000002"


def _resume(corpus: Corpus, run: Path) -> None:
    loop.resume(corpus, run, preset=Run(run).preset, limits=loop.Limits(4), context=ON_CPU)


def _seal(run: Path) -> None:
    """Make the checksums match: what a program would have written, not an accident."""
    folder = _checkpoint(run)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    (folder / "checksums.json").write_text(json.dumps({"schema_version": 1, "files": sums}))


def _assert_refused(corpus: Corpus, run: Path, says: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".lock"}
    with pytest.raises(UserError) as fault:
        _resume(corpus, run)
    message = str(fault.value)
    assert says in message and "go on" not in message and len(message.splitlines()) == 1, message
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
def test_a_single_bit_is_noticed(corpus: Corpus, damaged: Path, name: str) -> None:
    path = _checkpoint(damaged) / name
    content = path.read_bytes()
    for place in (len(content) // 3, len(content) * 2 // 3):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        _assert_refused(corpus, damaged, f"{_checkpoint(damaged)}/")


@pytest.mark.parametrize("name", FILES[:4])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(corpus: Corpus, damaged: Path, name: str, value: float) -> None:
    path = _checkpoint(damaged) / name
    tensors = load_file(path)
    tensors[sorted(tensors)[-1]].view(-1)[-1] = value
    save_file(tensors, path)
    _seal(damaged)
    _assert_refused(corpus, damaged, f"{name}: holds values that are not finite")


def test_a_checkpoint_of_nan_is_not_scored_exported_or_auditioned(
    corpus: Corpus, damaged: Path, tmp_path: Path
) -> None:
    path = _checkpoint(damaged) / "ema.safetensors"
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(path).items()}, path)
    _seal(damaged)
    done = CliRunner().invoke(app, ["evaluate", str(damaged), str(corpus.path), "--json", str(tmp_path / "a.json")])
    assert isinstance(done.exception, UserError) and "not finite" in str(done.exception)
    run = Run(damaged)
    with pytest.raises(UserError, match=r"ema\.safetensors: holds values that are not finite .* restore it"):
        export(run, tmp_path / "bundle")
    with pytest.raises(UserError, match=r"ema\.safetensors: holds values that are not finite"):
        audition(
            run,
            tmp_path / "audition",
            run.checkpoints.all(),
            clips=1,
            seconds=0.1,
            seed=0,
            temperature=TemperatureSchedule.constant(1.0),
            floor=0.0,
            candidates=1,
            restart=False,
            force=False,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _set(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("position.lanes.0", [0, 1_000_000, 0], "a lane is in clip 1000000 of an epoch, which has"),
        ("position.lanes.0", [9, 0, 0], "a lane is in clip 0 of epoch 9, which was not drawn yet"),
        ("position.lanes.0", [0, 0, 10**12], "a lane is at sample 1000000000000 of a clip"),
        ("position.lanes.0", [0, 0, -1], "greater than or equal to 0"),
        ("position.lanes.0", [0, -1, 0], "greater than or equal to 0"),
        ("position.lanes.0", [0, 0, 0.5], "valid integer"),
        ("position.lanes.0", [0, 0], "lanes.0.2: Field required"),
        ("position.lanes", [], "it has 0 lanes and the configuration 8"),
        ("position.lanes", [[0, 0, 0]] * 9, "it has 9 lanes and the configuration 8"),
        ("position.drawn", 10**6, "1000000 clips were drawn"),
        ("position.drawn", -1, "position.drawn"),
        ("position.epoch", 10**30, "position.epoch"),
        ("step", 10**30, "step: "),
        ("step", -1, "step: "),
        ("step", "2", "step: "),
        ("seconds", -1.0, "seconds: "),
        ("seconds", float("inf"), "seconds: "),
        ("best_bits", float("nan"), "best_bits: "),
        ("unlogged.nll_sum", float("nan"), "unlogged.nll_sum: "),
        ("unlogged.samples", 10**30, "unlogged.samples: "),
        ("schema_version", 3, "schema_version: "),
        ("surprise", 1, "surprise: "),
        ("preset.model.width", 33, "model.width is 33, not 32"),
        ("preset.audio.codec.kind", "linear", "audio.codec.kind is linear, not mu-law"),
    ],
)
def test_a_trainer_state_out_of_range_is_refused(
    corpus: Corpus, damaged: Path, key: str, value: object, says: str
) -> None:
    def change(content: Any) -> None:
        *path, last = key.split(".")
        for part in path:
            content = content[int(part) if isinstance(content, list) else part]
        content[int(last) if isinstance(content, list) else last] = value

    _set(_checkpoint(damaged) / "trainer_state.json", change)
    _seal(damaged)
    _assert_refused(corpus, damaged, says)


def _without(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(sorted(tensors)[0])


def _more(tensors: dict[str, torch.Tensor]) -> None:
    tensors["surprise"] = torch.zeros(3)


def _reshaped(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].reshape(1, *tensors[name].shape)


def _halved(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].half()


@pytest.mark.parametrize("name", FILES[:4])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without, "is missing"),
        (_more, "surprise is unexpected"),
        (_reshaped, ", not float32"),
        (_halved, "float16"),
    ],
)
def test_other_tensors_are_refused(
    corpus: Corpus, damaged: Path, name: str, change: Callable[[dict[str, torch.Tensor]], None], says: str
) -> None:
    path = _checkpoint(damaged) / name
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    _seal(damaged)
    _assert_refused(corpus, damaged, says)


@pytest.mark.parametrize("name", [*FILES, "checksums.json", "../index.json", "../../metrics.jsonl", "../../run.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "sparse"])
def test_what_is_not_a_plain_file_of_a_sensible_size_is_refused_at_once(
    corpus: Corpus, damaged: Path, name: str, kind: str
) -> None:
    path = _checkpoint(damaged) / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(UserError) as fault:
        _resume(corpus, damaged)
    assert len(str(fault.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        '{"last": "../../elsewhere", "best": "step-00000002"}',
        '{"last": "step-00000003", "best": "step-00000003"}',
        '{"last": "step-00000002"}',
        '{"last": 5, "best": []}',
        "[]",
    ],
)
def test_a_damaged_index_is_refused(corpus: Corpus, damaged: Path, content: str) -> None:
    (damaged / "checkpoints" / "index.json").write_text(content)
    _assert_refused(corpus, damaged, "index.json")


def test_a_run_that_lost_its_index_is_not_begun_anew(corpus: Corpus, damaged: Path) -> None:
    """That would replace its checkpoints, and forget its metrics."""
    shutil.copytree(_checkpoint(damaged), _checkpoint(damaged).with_name("step-00000001"))
    (damaged / "checkpoints" / "index.json").unlink()
    _assert_refused(corpus, damaged, "index.json: is missing, and there are checkpoints")


@pytest.mark.parametrize(
    ("key", "value"),
    [("preset", {"model": {"width": -3}}), ("corpus", "/somewhere"), ("schema_version", 3), ("preset", None)],
)
def test_a_damaged_run_is_refused(corpus: Corpus, damaged: Path, key: str, value: object) -> None:
    _set(damaged / "run.json", lambda content: content.update({key: value}))
    _assert_refused(corpus, damaged, "run.json: is damaged, or from another version of Slash")


def test_a_configuration_that_was_edited_is_refused(corpus: Corpus, damaged: Path, tmp_path: Path) -> None:
    """It has the same weights, and would decode them as another sound."""
    _set(damaged / "run.json", lambda content: content["preset"]["audio"]["codec"].update(kind="linear"))
    _assert_refused(corpus, damaged, "was trained with: audio.codec.kind is mu-law, not linear")
    with pytest.raises(UserError, match=r"audio\.codec\.kind is mu-law, not linear"):
        export(Run(damaged), tmp_path / "bundle")


@pytest.mark.parametrize("line", [b'{"step": 1}', b"\xff\xfe", b'{"step": NaN}', b"[" * 10_000, b""])
def test_damaged_metrics_are_refused_by_line(corpus: Corpus, damaged: Path, line: bytes) -> None:
    path = damaged / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    _assert_refused(corpus, damaged, "metrics.jsonl: line 2 is damaged")


def test_checkpoints_are_as_readable_as_the_umask_says(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run = loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(1), context=ON_CPU).run
    finally:
        os.umask(before)
    for path in run.checkpoints.find("last").path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640, path


def test_an_index_of_checkpoints_that_is_a_link_to_nothing_is_damage_and_not_a_new_run(
    run: Run, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    index = copy / "checkpoints" / "index.json"
    index.unlink()
    for target in (index, tmp_path / "gone"):
        index.symlink_to(target)
        with pytest.raises(UserError, match=r"index"):
            Run(copy).checkpoints.find("last")
        assert not Run(copy).checkpoints.is_empty()
        index.unlink()
