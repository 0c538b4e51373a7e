"""The kernels compiled by NVRTC for an H100, in the shapes of the presets. No GPU is needed."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from host_device import HostDevice
from odd_models import write_odd
from typing_extensions import override

from slash_infer.runtimes.cluster_kernel import Kernel, SourceName, kernel_source
from slash_infer.runtimes.cluster_plan import MOST_IN_REGISTERS, Call, Plan
from slash_infer.runtimes.cluster_runtime import Cluster, ClusterModel
from slash_infer.sampling.engine import Engine
from slash_train.config import preset_names

QUICK = ("tiny", "demo")
ALL = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in preset_names()]
BLOCKS, THREADS = 112, 256  # of an H100, in clusters of 16
REGISTERS = 65_536  # of a block
SPILLED = 1_024  # bytes of a thread, of kernels for several clips or other GPUs; those for one clip spill nothing


class Compiled(Kernel):
    """A kernel that cannot be launched."""

    @override
    def launch(self, call: Call) -> None:
        raise NotImplementedError


class H100(HostDevice):
    """Compiles, and keeps what the compiler says of each kernel."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, blocks=BLOCKS, threads=THREADS)
        self.said: list[str] = []

    @override
    def kernel(self, plan: Plan) -> Kernel:
        self.plans.append(plan)
        self.said.append(_compiled("cluster.cu", plan.macros()))
        return Compiled()


def _compiled(source: SourceName, macros: Mapping[str, str], arch: str = "sm_90a") -> str:
    """Return what the compiler says."""
    core = pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    log = io.StringIO()
    options = core.ProgramOptions(arch=arch, std="c++17", define_macro=list(macros.items()), ptxas_options="-v")
    core.Program(kernel_source(source), "c++", options).compile("cubin", logs=log)
    return log.getvalue()


@pytest.fixture(autouse=True)
def nvrtc() -> None:
    """Skip where there is no compiler."""
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="cuda-core is not installed")
    try:
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except pathfinder.DynamicLibNotFoundError:
        pytest.skip("NVRTC is not installed")


@pytest.mark.parametrize("preset", ALL)
def test_a_preset_fits_registers_and_shared_memory(preset: str, tmp_path: Path) -> None:
    _assert_fits(preset, [], tmp_path)


HISTORIES = {
    "of one code": ["model.history=1"],
    "as long as registers hold": [f"model.history={MOST_IN_REGISTERS}"],
    "in shared memory, wide frames": ["model.history=200", "model.frame_sizes=[100,300]"],
}


@pytest.mark.parametrize("preset", [QUICK[0], pytest.param("live", marks=pytest.mark.slow)])
@pytest.mark.parametrize("history", HISTORIES)
def test_histories_fit_registers_and_shared_memory(preset: str, history: str, tmp_path: Path) -> None:
    _assert_fits(preset, HISTORIES[history], tmp_path)


@pytest.mark.parametrize("preset", ALL)
def test_the_kernels_for_many_clips_fit_two_blocks_a_processor(preset: str, tmp_path: Path) -> None:
    engine = Engine(write_odd(tmp_path, [], ["fp32", "fp16"], preset), Cluster(H100(tmp_path)), "fp16")
    assert isinstance(engine.model, ClusterModel) and engine.model.many.fits
    shapes = {engine.model.many.shape_for(clips) for clips in (9, 16_384)}
    for shape in shapes:
        said = _compiled("throughput.cu", shape.macros())
        assert int(re.findall(r"Used (\d+) registers", said)[-1]) * THREADS * 2 <= REGISTERS, said
        assert max(map(int, re.findall(r"(\d+) bytes spill", said))) == 0, said


def test_kernels_compile_for_the_newest_gpu(tmp_path: Path) -> None:
    """And fit it, as they do an H100."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    _, known = nvrtc.nvrtcGetNumSupportedArchs()
    _, archs = nvrtc.nvrtcGetSupportedArchs()
    newest = max(archs[:known])
    assert newest > 90
    device = H100(tmp_path)
    model = Engine(write_odd(tmp_path, []), Cluster(device), "fp16").model
    assert isinstance(model, ClusterModel)
    sources: dict[SourceName, Mapping[str, str]] = {
        "cluster.cu": model.plan(1).macros(),
        "throughput.cu": model.many.shape_for(64).macros(),
    }
    for source, macros in sources.items():
        said = _compiled(source, macros, f"sm_{newest}")
        assert int(re.findall(r"Used (\d+) registers", said)[-1]) * THREADS <= REGISTERS, said
        assert max(map(int, re.findall(r"(\d+) bytes spill", said))) <= SPILLED, said


def _assert_fits(preset: str, overrides: list[str], tmp_path: Path) -> None:
    device = H100(tmp_path)
    engine = Engine(write_odd(tmp_path, overrides, ["fp32", "fp16"], preset), Cluster(device), "fp16")
    for clips in (1, engine.model.most_clips(8)):
        engine.runner(clips)
    for plan, said in zip(device.plans, device.said, strict=True):
        registers = int(re.findall(r"Used (\d+) registers", said)[-1])
        spilled = max(map(int, re.findall(r"(\d+) bytes spill", said)))
        assert registers * THREADS <= REGISTERS, said
        assert spilled <= (0 if plan.clips == 1 else SPILLED), (plan.clips, spilled)
        assert plan.shared_bytes <= device.shared_bytes
