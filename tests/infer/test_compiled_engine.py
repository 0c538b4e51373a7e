"""The engine `compiled` does what the graphs do, in any batch, and says why where it cannot work."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from odd_models import ODD, SEEN, write_odd

from slash_export.verify import Verdict, verify
from slash_infer import open_engine
from slash_infer.bundle import Bundle, describe_file
from slash_infer.errors import UserError
from slash_infer.runtimes import compiled_library
from slash_infer.runtimes.compiled_runtime import Compiled
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import runtime_named
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler

try:
    compiled_library.find_compiler()
except Unavailable as reason:
    pytestmark = pytest.mark.skip(reason=str(reason))

SHAPES = {**ODD, **SEEN}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_agrees_with_fp32(bundle: Bundle, precision: str) -> None:
    verdicts = {one.precision: one for one in verify(bundle, [Compiled()]) if isinstance(one, Verdict)}
    found = verdicts[precision]  # type: ignore[index]
    assert found.fault is None, found
    assert found.identical == found.codes or precision == "int8"


@pytest.mark.parametrize("shape", SHAPES)
def test_codes_are_those_of_the_graphs(shape: str, tmp_path: Path) -> None:
    """Those of fp32, for one row to seven of one thread, with and without a floor, after primes of any length."""
    bundle = write_odd(tmp_path, [*SHAPES[shape], "model.width=48"], ["fp32"])
    engines = [Engine(bundle, Compiled(cores=1)), Engine(bundle, OnnxCpu())]
    rng, hop = np.random.default_rng(0), bundle.manifest.top_hop
    for clips in range(1, 8):
        primes = [rng.integers(0, bundle.manifest.codec.levels, 13 * k + 5, np.int32) for k in range(clips)]
        uniform, steps = Uniforms(0, range(clips)).next(4 * hop), np.full((clips, 4), 0.9, np.float32)
        found, expected = (Batch(engine, clips) for engine in engines)
        for batch in (found, expected):
            batch.prefill(primes)
        ours, theirs = (batch.generate(uniform, steps, 0.002 * (clips % 2)) for batch in (found, expected))
        assert np.array_equal(ours.codes, theirs.codes)
        assert np.allclose(ours.nll, theirs.nll, atol=1e-4)
        for tier, its in zip(found.state().rnn_states, expected.state().rnn_states, strict=True):
            assert all(np.allclose(tier[name], its[name], atol=1e-4) for name in its)


@pytest.mark.parametrize("shape", ODD)
def test_int8_of_any_shape_agrees_with_fp32(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slash_export.verify.SECONDS", 0.05)
    bundle = write_odd(tmp_path, [*ODD[shape], "model.width=48"], ["fp32", "int8"])
    for verdict in verify(bundle, [Compiled()]):
        assert isinstance(verdict, Verdict) and verdict.fault is None, verdict


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_clip_is_the_same_to_the_last_bit_in_any_batch(bundle: Bundle, precision: str) -> None:
    engine = Engine(bundle, Compiled(cores=2), precision)  # type: ignore[arg-type]
    together = Sampler(bundle, range(11), seed=5, candidates=1, engine=engine)
    codes = together.codes(640)
    for clips in ([0], [10], [3, 4], [5, 1, 9]):
        alone = Sampler(bundle, clips, seed=5, candidates=1, engine=engine)
        assert np.array_equal(alone.codes(640), codes[clips])
        assert np.array_equal(alone.bits, together.bits[clips])


def test_a_saved_sampler_goes_on_exactly(bundle: Bundle, tmp_path: Path) -> None:
    engine = Engine(bundle, Compiled(), "int8")
    whole, first = (Sampler(bundle, 2, seed=3, engine=engine) for _ in range(2))
    expected, begun = whole.codes(4003), first.codes(2001)
    first.save(tmp_path / "saved.npz")
    rest = Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine)
    assert np.array_equal(np.concatenate([begun, rest.codes(2002)], axis=1), expected)


def test_a_code_under_the_floor_is_never_drawn(tmp_path: Path) -> None:
    """Not even where rounding decides: a uniform of 1, which none is, is at the end of all sums."""
    bundle = write_odd(tmp_path, SEEN["a history of one code"], ["fp32"])
    hop = bundle.manifest.top_hop
    uniform = np.ones((2, 4 * hop), np.float32)
    drawn = Batch(Engine(bundle, Compiled()), 2).generate(uniform, np.full((2, 4), 0.1, np.float32), 0.0035)
    assert drawn.fault(256) is None and np.exp(-drawn.nll.max()) > 0.0035 - 1e-5


def test_it_is_taken_by_name_alone(bundle: Bundle) -> None:
    named, auto = open_engine(bundle, "compiled"), open_engine(bundle)
    assert (named.runtime.name, named.precision) == ("compiled", "int8") and auto.runtime.name != "compiled"


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(
        UserError, match=r"`engine` compiled: there is no C compiler here \(no-such-compiler\); .* cpu"
    ):
        runtime_named("compiled")


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("echo 'x: error: no memory' >&2; exit 1", "x: error: no memory"),
        ("exec sleep 60", "takes over 0.5 s"),
        ("exit 0", "made nothing"),
        ('while [ "$1" != -o ]; do shift; done; echo garbage > "$2"', "cannot be loaded"),
    ],
)
def test_a_compiler_that_fails_is_named(
    program: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\n[ "$3" = --version ] && exit\n{program}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", f"{compiler} --with an-option")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled_library, "COMPILING_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=says):
        Compiled()


@pytest.mark.parametrize("damage", ["empty", "its head alone", "its end", "a bit"])
def test_a_damaged_library_is_compiled_again(
    bundle: Bundle, damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Compiled()
    (library,) = (tmp_path / "slash" / "compiled").glob("*.so")
    whole = library.read_bytes()
    a_bit = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    damaged = {"empty": b"", "its head alone": whole[:4096], "its end": whole[:-100], "a bit": a_bit}
    library.unlink()  # which is still open
    library.write_bytes(damaged[damage])
    assert Sampler(bundle, engine=Engine(bundle, Compiled(), "int8")).codes(16).shape == (1, 16)
    assert library.read_bytes() == whole and len(list(library.parent.iterdir())) == 2


def test_numbers_that_are_none_show(tmp_path: Path) -> None:
    """A state that is not finite leads to likelihoods that are not, instead of being drawn from."""
    bundle = write_odd(tmp_path, SEEN["a history of one code"], ["fp32"])
    engine, hop = Engine(bundle, Compiled()), bundle.manifest.top_hop
    state = engine.initial_state(1)
    state.rnn_states[-1]["h"][...] = np.nan
    runner = engine.model.runner(state)
    drawn = runner.generate(np.full((1, hop), 0.5, np.float32), np.ones((1, 1), np.float32), 0.0)
    assert drawn.fault(256) == "its graphs give likelihoods that are not from 0 to 1"


def test_a_weight_too_many_is_refused(tmp_path: Path) -> None:
    """Even one without numbers, of samples that a layer does not see."""
    path = write_odd(tmp_path, ["model.rnn_layers=2"], ["fp32", "int8"]).path
    graph = onnx.load(path / "frame_tier_1.int8.onnx")
    nothing = onnx.numpy_helper.from_array(np.zeros((0, 128), np.float32), "layer_1.exact_weight")
    graph.graph.initializer.append(nothing)
    onnx.save(graph, path / "frame_tier_1.int8.onnx")
    manifest = json.loads((path / "manifest.json").read_text())
    int8 = next(variant for variant in manifest["variants"] if variant["precision"] == "int8")
    int8["frame_tiers"][0] = describe_file(path / "frame_tier_1.int8.onnx").model_dump(mode="json")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"has an unknown weight layer_1\.exact_weight"):
        Engine(Bundle(path), Compiled(), "int8")


def test_a_width_that_is_no_multiple_of_a_vector_is_refused(tmp_path: Path) -> None:
    bundle = write_odd(tmp_path, ["model.width=34"], ["fp32"])
    with pytest.raises(UserError, match=r"has a width of 34, and .* needs a multiple of \d+; use `engine` cpu"):
        Engine(bundle, Compiled())
