"""What runs a bundle: how it is chosen, and that it does not show in the audio."""

import re
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from typing_extensions import override

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import Bundle
from slash_infer.codec import Codec
from slash_infer.errors import UserError
from slash_infer.runtimes import protocol, registry
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.onnx_cpu import CLIPS_PER_THREAD, OnnxCpu
from slash_infer.runtimes.onnx_session import OnnxGraph
from slash_infer.runtimes.protocol import Unavailable, cuda_packages
from slash_infer.runtimes.registry import find_runtimes
from slash_infer.sampling import choice
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.engine import IDLE_RUNNERS, Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_train.config import load_preset
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

HERE = [name for name, found in find_runtimes(without=registry.BY_NAME_ALONE) if not isinstance(found, Unavailable)]


def test_auto_takes_the_first_that_works_and_says_why(bundle: Bundle) -> None:
    chosen = open_engine(bundle)
    assert chosen.runtime.name == HERE[0]
    assert chosen.precision == chosen.runtime.precisions[0]
    assert bool(chosen.why) == (HERE[0] != "cluster")


class _Cuda(OnnxCpu):
    name = "cuda"


class _TensorRt(OnnxCpu):
    name = "tensorrt"


class _Slow(_Cuda):
    """A GPU that is slower than the CPU."""

    @override
    def copy_row(self, *arguments: Any) -> None:
        time.sleep(0.02)
        super().copy_row(*arguments)


class _Broken(_TensorRt):
    """A GPU that fails when it is used."""

    @override
    def copy_row(self, *arguments: Any) -> None:
        raise UserError("the GPU", "failed")


def test_auto_times_engines_whose_order_depends(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RUNTIMES", {"tensorrt": _Broken, "cuda": _Slow, "cpu": OnnxCpu})
    chosen = open_engine(bundle)
    assert chosen.runtime.name == "cpu"
    expected = r"the GPU: failed; cuda is slower here: \S+ x realtime, and cpu \S+ x"
    assert re.fullmatch(expected, chosen.why), chosen.why
    monkeypatch.setattr(registry, "RUNTIMES", {"tensorrt": _Broken, "cuda": _Broken})
    with pytest.raises(UserError, match=r"no engine works: the GPU: failed$"):
        open_engine(bundle)


@pytest.mark.parametrize(
    ("rates", "taken", "why"),
    [
        ({"tensorrt": 8.0, "cuda": 9.9, "cpu": 1.0}, "tensorrt", "cuda is not a quarter faster here: 9.9 x realtime"),
        ({"tensorrt": 8.0, "cuda": 10.1, "cpu": 12.0}, "cuda", "cpu is not a quarter faster here: 12 x realtime"),
        ({"tensorrt": 2.0, "cuda": 1.3, "cpu": 5.2}, "cpu", "cuda is slower here: 1.3 x realtime, and cpu 5.2 x"),
    ],
)
def test_a_later_engine_must_be_faster_by_a_quarter(
    rates: dict[str, float], taken: str, why: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is timed with as many rows as are asked for, up to a limit."""
    asked = set[int]()

    def realtime(engine: Engine, rows: int) -> float:
        asked.add(rows)
        return rates[engine.runtime.name]

    monkeypatch.setattr(choice, "_realtime", realtime)
    monkeypatch.setattr(registry, "RUNTIMES", {"tensorrt": _TensorRt, "cuda": _Cuda, "cpu": OnnxCpu})
    chosen = open_engine(bundle, rows=3)
    assert chosen.runtime.name == taken and why in chosen.why
    open_engine(bundle, rows=10_000)
    assert asked == {3, 256}
    for wrong in (0, "8", 1.5):
        with pytest.raises(UserError, match="`rows`"):
            open_engine(bundle, rows=wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(HERE != ["cpu"], reason="there is more than a CPU here")
@pytest.mark.parametrize("name", ["cluster", "cuda", "tensorrt"])
def test_an_engine_asked_for_by_name_is_had_or_refused(bundle: Bundle, name: str) -> None:
    with pytest.raises(UserError, match=f"`engine` {name}: .+; `engine` cpu works everywhere"):
        open_engine(bundle, name)  # type: ignore[arg-type]
    assert open_engine(bundle).why and not open_engine(bundle, "cpu").why


@pytest.mark.parametrize(
    ("driver", "says"), [(False, "no NVIDIA driver"), (True, r"pip install 'slash-audio\[gpu\]'")]
)
def test_packages_are_only_advised_where_they_would_help(
    monkeypatch: pytest.MonkeyPatch, driver: bool, says: str
) -> None:
    monkeypatch.setattr(protocol, "_has_driver", lambda: driver)
    with pytest.raises(Unavailable, match=says), cuda_packages("gpu"):
        import cuda_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401


def test_a_precision_the_bundle_lacks_is_refused() -> None:
    example = Bundle(Path(__file__).resolve().parents[2] / "docs" / "example-bundle")  # has fp32 alone
    with pytest.raises(UserError, match="has no int8 graphs; take fp32, or export it with int8"):
        open_engine(example, "cpu", "int8")
    assert open_engine(example, "cpu").precision == "fp32"


def test_threads_do_not_show(bundle: Bundle) -> None:
    """Clips shared out among threads, an uneven number of them, are those of one thread."""
    clips = range(2 * CLIPS_PER_THREAD + 1)
    one, two = (Engine(bundle, OnnxCpu(cores=cores)) for cores in (1, 2))
    assert [Batch(engine, len(clips)).shares for engine in (one, two)] == [[10], [6, 4]]
    expected, made = (Sampler(bundle, clips, seed=1, engine=engine).codes(500) for engine in (one, two))
    assert np.array_equal(expected, made)


def test_samplers_on_several_threads_share_an_engine(bundle: Bundle) -> None:
    """Each generates what it does alone, while others of the same and of other sizes come, generate and go."""
    made = partial(_made, bundle, open_engine(bundle, "cpu"))
    alone = [made(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(made, range(12)))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def _made(bundle: Bundle, engine: Engine, seed: int) -> npt.NDArray[np.int32]:
    with Sampler(bundle, 1 + seed % 3, seed=seed, engine=engine) as sampler:
        return np.concatenate([sampler.codes(300) for _ in range(5)], axis=1)


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_clips_are_the_same_to_the_last_bit_in_batches_of_any_size(bundle: Bundle, precision: str) -> None:
    """Likelihoods, too: a single row that is not padded is rounded differently by most processors."""
    engine = Engine(bundle, OnnxCpu(), precision)  # type: ignore[arg-type]
    hop = bundle.manifest.top_hop
    uniform, temperature = Uniforms(2, range(20)).next(40 * hop), np.ones((20, 40), np.float32)
    largest = Batch(engine, 20).generate(uniform, temperature, 0.0)
    for clips in range(1, 21):
        _assert_generates(engine, uniform[:clips], temperature[:clips], largest.select(slice(clips)))


def _assert_generates(
    engine: Engine, uniform: npt.NDArray[np.float32], temperature: npt.NDArray[np.float32], expected: Generated
) -> None:
    """In a padded batch: codes and likelihoods, to the last bit."""
    batch = Batch(engine, len(uniform))
    generated = batch.generate(uniform, temperature, 0.0)
    assert batch.rows % engine.batch_multiple == 0
    assert np.array_equal(generated.codes, expected.codes)
    assert np.array_equal(generated.nll, expected.nll)
    batch.close()


def test_an_engine_keeps_few_idle_runners(bundle: Bundle) -> None:
    """And hands them out again, in their initial state."""
    engine = Engine(bundle, OnnxCpu())
    first = engine.runner(2)
    uniform, temperature = np.full((2, first.hop), 0.5, np.float32), np.ones((2, 1), np.float32)
    expected = first.generate(uniform, temperature, 0.0).codes
    engine.release([first])
    engine.release([engine.runner(clips) for clips in range(3, 2 + IDLE_RUNNERS)])
    assert engine.runner(2) is first
    assert np.array_equal(first.generate(uniform, temperature, 0.0).codes, expected)
    engine.release([first, *(engine.runner(50 + i) for i in range(IDLE_RUNNERS))])
    assert engine.runner(2) is not first


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_clip_keeps_its_sound_in_any_batch(bundle: Bundle, precision: str) -> None:
    """int8 quantises every clip's activations by themselves: dynamic quantisation would not pass."""
    engine = Engine(bundle, OnnxCpu(), precision)  # type: ignore[arg-type]
    pair = Sampler(bundle, [0, 1], seed=5, engine=engine).codes(2000)
    many = Sampler(bundle, [0, 3, 1, 9, 4], seed=5, engine=engine).codes(2000)
    assert np.array_equal(pair, many[[0, 2]])


@pytest.fixture(scope="module", name="wide")
def _wide(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model wide enough for threads inside its operators, with random weights."""
    preset, folder = load_preset("tiny", ["model.width=512"]), tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    write_unchecked(folder, TrainedModel(SampleRNN(preset.model, Codec()).eval(), preset, "wide", 0, None), ["int8"])
    return Bundle(folder)


def test_a_clip_keeps_its_sound_where_rows_are_taken_in_pairs(wide: Bundle) -> None:
    """From width 512 on, ONNX Runtime's int8 products round the last of an odd number of rows differently."""
    engine = Engine(wide, OnnxCpu(), "int8")
    many = Sampler(wide, 8, seed=5, engine=engine).codes(1500)
    for clips in ([0, 1, 2], [3], [7, 1, 2, 6, 5]):
        assert np.array_equal(Sampler(wide, clips, seed=5, engine=engine).codes(1500), many[clips])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("cores", [1, 4])
def test_threads_inside_operators_do_not_show(wide: Bundle, cores: int, precision: str) -> None:
    """ONNX Runtime's sums add in another order where there are fewer rows than threads."""
    engine, hop = Engine(wide, OnnxCpu(cores=cores), precision), wide.manifest.top_hop  # type: ignore[arg-type]
    uniform, temperature = Uniforms(2, range(12)).next(20 * hop), np.ones((12, 20), np.float32)
    expected = Batch(Engine(wide, OnnxCpu(cores=1), precision), 12).generate(uniform, temperature, 0.0)  # type: ignore[arg-type]
    for clips in (1, 2, 3, 5, 12):
        _assert_generates(engine, uniform[:clips], temperature[:clips], expected.select(slice(clips)))


def test_samplers_of_one_engine_do_not_disturb_each_other(bundle: Bundle, engine: Engine) -> None:
    first, second = (Sampler(bundle, [clip], engine=engine) for clip in (0, 1))
    turns = [(first.codes(64), second.codes(64)) for _ in range(4)]
    expected = Sampler(bundle, [0, 1], engine=engine).codes(256)
    for clip, generated in enumerate(zip(*turns, strict=True)):
        assert np.array_equal(np.concatenate(generated, axis=1)[0], expected[clip])


def test_temperatures_are_the_clips_own(engine: Engine) -> None:
    runner = engine.runner(2)
    uniform = np.random.default_rng(0).random((1, 800), np.float32).repeat(2, axis=0)
    temperature = np.array([[0.05], [20.0]], np.float32).repeat(800 // runner.hop, axis=1)
    cold, hot = runner.generate(uniform, temperature, 0.0).codes
    assert len(np.unique(cold)) < len(np.unique(hot))
    runner.set_state(engine.initial_state(2))
    assert np.array_equal(runner.generate(uniform, temperature, 0.0).codes, [cold, hot])


def test_a_graph_onnx_runtime_rejects_is_named() -> None:
    with pytest.raises(UserError, match=r"x\.onnx: ONNX Runtime cannot load it"):
        OnnxCpu().load(b"\x3a\x00", "x.onnx", 32)


def test_the_cpu_runs_on_the_cpu(engine: Engine) -> None:
    assert isinstance(engine.model, GraphModel)
    graph = engine.model.graphs.sample_tier
    assert isinstance(graph, OnnxGraph) and graph.providers == ["CPUExecutionProvider"]
    assert ort.__version__ in engine.description


def test_the_gpu_extra_brings_the_libraries_that_its_provider_loads() -> None:
    """Without a CUDA of the system's."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert any(need.startswith("onnxruntime-gpu[cuda,cudnn]") for need in extras["gpu"])
    (onnx,) = (need for need in extras["export"] if need.startswith("onnx>"))
    assert tuple(map(int, onnx.partition(">=")[2].split("."))) >= (1, 21)  # its security advisories
