"""TensorRT plans are built ahead of time, without a GPU, and kept where nobody else can write."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.runtimes.plan_cache import PlanCache, PlanKey
from slash_infer.runtimes.prebuild import build_plans, make_builder
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.tensorrt_compiler import BATCHES, Compiler, batches_for
from slash_train.config import load_preset, preset_names
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

TARGET = "8.9"
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"
MOST_BESIDE_THE_WEIGHTS = 12_000_000  # bytes; a larger plan must have copied weights while unrolling


def _missing() -> str | None:
    try:
        return None if Compiler().builds_for_others else "tensorrt: this TensorRT builds only on a GPU"
    except Unavailable as reason:
        return f"tensorrt: {reason}"


MISSING = _missing()
pytestmark = [pytest.mark.tensorrt, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


LARGE = {"studio", "paper-2tier"}  # and made of the same graphs as `slash` and `paper-3tier`


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in preset_names()]
)
def test_every_preset_builds(name: str, tmp_path: Path) -> None:
    """TensorRT parses and supports its graphs; plans do not copy weights, and CUDA graphs can capture them."""
    preset = load_preset(name)
    torch.manual_seed(0)
    model = SampleRNN(preset.model, preset.audio.codec)
    write_unchecked(tmp_path, TrainedModel(model, preset, name, 0, None), ["fp16"])
    plans = list(build_plans(Bundle(tmp_path), make_builder(TARGET), BATCHES[:1]))
    assert len(plans) == 2 * (len(preset.model.hops) + 1)
    for plan in plans:
        assert plan.plan.stat().st_size == plan.plan_bytes
        assert plan.plan_bytes <= plan.graph_bytes + MOST_BESIDE_THE_WEIGHTS, plan
        assert b"stream_capturable=1" in plan.plan.read_bytes()


def test_what_a_cuda_graph_cannot_capture_is_refused() -> None:
    with pytest.raises(UserError, match=r"x\.onnx: its plan cannot be captured in a CUDA graph; use `engine`"):
        Compiler().build(_loop().SerializeToString(), "x.onnx", BATCHES[1], TARGET)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(UserError, match=r"x\.onnx: TensorRT cannot read it"):
        Compiler().build(b"nothing", "x.onnx", BATCHES[1], TARGET)


def test_a_plan_is_built_once(bundle: Bundle) -> None:
    first, again = (list(build_plans(bundle, make_builder(TARGET), BATCHES[1:2])) for _ in range(2))
    assert all(plan.seconds > 0 for plan in first)
    assert [dataclasses.replace(plan, seconds=0.0) for plan in first] == again


def test_each_range_of_clips_has_a_plan_of_its_own() -> None:
    plans = list(build_plans(Bundle(EXAMPLE), make_builder(TARGET)))
    graphs = {plan.graph for plan in plans}
    assert [plan.batches for plan in plans] == list(BATCHES) * len(graphs)
    assert len({plan.plan for plan in plans}) == len(plans)
    assert {clips: batches_for(clips)[2] for clips in (1, 2, 16, 17, 256, 257, 4096)} == {
        1: 1, 2: 16, 16: 16, 17: 256, 256: 256, 257: 4096, 4096: 4096
    }  # fmt: skip
    with pytest.raises(UserError, match="`clips` 4097: TensorRT's plans take at most 4096 side by side"):
        batches_for(4097)


def test_a_plan_for_another_driver_or_a_damaged_one_is_not_taken() -> None:
    cache = PlanCache()
    key = PlanKey("0" * 64, "tensorrt_rtx", "1.7", "NVIDIA H200", "9.0", "580.1", recipe=1, batches=(1, 8, 1024))
    cache.keep(key, b"a plan")
    assert cache.find(key) == b"a plan"
    for change in (
        {"graph_sha256": "1" * 64},
        {"flavour": "tensorrt"},
        {"version": "1.8"},
        {"gpu": "NVIDIA H100"},
        {"driver": "580.2"},
        {"recipe": 0},
    ):
        assert cache.find(dataclasses.replace(key, **change)) is None
    cache.path_of(key).write_bytes(b"a plaN")
    assert cache.find(key) is None
    cache.keep(key, b"a plan")
    metadata = cache.path_of(key).with_suffix(".json")
    metadata.write_bytes(metadata.read_bytes()[:20])
    assert cache.find(key) is None


def test_a_cache_that_others_may_write_to_is_refused(bundle: Bundle) -> None:
    PlanCache().path.chmod(0o777)
    with pytest.raises(UserError, match=r"others may write to it.+chmod 700"):
        list(build_plans(bundle, make_builder(TARGET)))


def test_a_plan_is_never_taken_from_a_bundle(bundle: Bundle, tmp_path: Path) -> None:
    """Plans are built from the graphs, whatever other files the bundle holds."""
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    for plan in build_plans(bundle, make_builder(TARGET), BATCHES[1:2]):
        (folder / plan.plan.name).write_bytes(b"a trap")
    shutil.rmtree(PlanCache().path)
    plans = list(build_plans(Bundle(folder), make_builder(TARGET), BATCHES[1:2]))
    assert all(plan.seconds > 0 and plan.plan.parent == PlanCache().path for plan in plans)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UserError, match=r"`target` 9\.1: must be one of 7\.5, .+"):
        make_builder("9.1")


def _loop() -> onnx.ModelProto:
    """Return a graph that doubles x five times in a loop."""
    x, s, t, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xsty")
    i = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    go, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on"))
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["s", "s"], ["t"])]
    body = helper.make_graph(steps, "body", [i, go, s], [on, t])
    loop = helper.make_node("Loop", ["count", "true", "x"], ["y"], body=body)
    constants = [
        numpy_helper.from_array(np.array(5, np.int64), "count"),
        numpy_helper.from_array(np.array(True), "true"),
    ]
    graph = helper.make_graph([loop], "loop", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
