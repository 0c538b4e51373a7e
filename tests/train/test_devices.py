"""The device to train on: what is impossible is explained in one line."""

from pathlib import Path

import pytest
import torch

from slash_infer.errors import UserError
from slash_train import devices
from slash_train.devices import choose_device, has_fast_bf16, limits_explained


def test_auto_and_names() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:77", "cuda:x"):
        with pytest.raises(UserError, match=f"`device` {name}: cannot be used"):
            choose_device(name)


def test_several_processes_do_not_share_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="`device` cuda:0: would put every process on one GPU; use cuda"):
        choose_device("cuda:0")
    assert choose_device("cpu") == torch.device("cpu")


def test_more_than_the_memory_holds() -> None:
    with pytest.raises(UserError, match=r"out of memory .*; lower training.batch_size"), limits_explained():
        torch.empty(2**58)


def test_other_faults_are_not_explained_away() -> None:
    with pytest.raises(RuntimeError, match="a defect"), limits_explained():
        raise RuntimeError("a defect")


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512f avx512_bf16", True), ("amx_bf16", True), ("avx2", False)]
)
def test_bfloat16_is_fast_where_the_processor_says_so(
    flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    assert not has_fast_bf16(torch.device("cpu"))  # as the file is missing
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert has_fast_bf16(torch.device("cpu")) == expected
