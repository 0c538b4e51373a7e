"""The engine `cluster` without a GPU: its kernel, compiled for the processor, does what the graphs do."""

import re
from pathlib import Path

import numpy as np
import pytest
from host_device import COMPILER, HostDevice
from odd_models import ODD, SEEN, write_odd

from slash_export.teacher_forcing import TeacherForced, distance_outside, log_softmax
from slash_export.verify import Verdict
from slash_export.verify import verify as compare
from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.runtimes.cluster_runtime import Cluster
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ for x86-64 to compile the kernel with")


@pytest.fixture(scope="module")
def engine(bundle: Bundle, kernels: Path) -> Engine:
    return Engine(bundle, Cluster(HostDevice(kernels)), "fp16")


def test_it_agrees_with_fp32(bundle: Bundle, kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slash_export.verify.SECONDS", 0.05)
    (verdict,) = compare(bundle, [Cluster(HostDevice(kernels))])
    assert isinstance(verdict, Verdict) and verdict.fault is None, verdict
    assert verdict.mean_kl < 1e-4 and verdict.max_layer_difference < 0.02


def test_primes_of_several_lengths_leave_the_state_that_graphs_leave(bundle: Bundle, engine: Engine) -> None:
    hop = bundle.manifest.top_hop
    primes = [np.random.default_rng(0).integers(0, 256, length, np.int32) for length in (3 * hop, hop - 1)]
    on_cluster, on_cpu = Batch(engine, 2), Batch(Engine(bundle, OnnxCpu(), "fp16"), 2)
    for batch in (on_cluster, on_cpu):
        batch.prefill(primes)
    state, expected_state = on_cluster.state(), on_cpu.state()
    assert np.array_equal(state.history, expected_state.history)
    for tier, expected in zip(state.rnn_states, expected_state.rnn_states, strict=True):
        assert all(np.abs(tier[name] - expected[name]).max() < 0.02 for name in expected)


def test_temperatures_are_the_clips_own(bundle: Bundle, engine: Engine) -> None:
    """The likelihoods say so, too."""
    hop, steps = bundle.manifest.top_hop, 4
    temperature = np.repeat(np.array([[0.3], [3.0]], np.float32), steps, axis=1)
    uniform = Uniforms(0, [7, 7]).next(steps * hop)
    cold, hot = Batch(engine, 2).generate(uniform, temperature, 0.0).nll.mean(axis=1)
    assert cold + 1 < hot


def test_a_clip_is_the_same_to_the_last_bit_in_any_batch(bundle: Bundle, engine: Engine) -> None:
    """One clip, two, and five in several launches of one kernel."""
    hop = bundle.manifest.top_hop
    uniform, temperature = Uniforms(2, range(5)).next(4 * hop), np.ones((5, 4), np.float32)
    made = [Batch(engine, clips).generate(uniform[:clips], temperature[:clips], 0.0) for clips in (1, 2, 5)]
    for some in made[:2]:
        assert np.array_equal(some.codes, made[2].codes[: len(some.codes)])
        assert np.array_equal(some.nll, made[2].nll[: len(some.nll)])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_in_which_threads_take_turns_does_not_matter(
    bundle: Bundle, engine: Engine, kernels: Path, seed: int
) -> None:
    """What they send to one another, and copies, arrive late and in any order."""
    hop, disordered = bundle.manifest.top_hop, Engine(bundle, Cluster(HostDevice(kernels, disorder=seed)), "fp16")
    uniform, temperature = Uniforms(2, range(2)).next(2 * hop), np.ones((2, 2), np.float32)
    for clips in (1, 2):
        expected, made = (
            Batch(each, clips).generate(uniform[:clips], temperature[:clips], 0.0) for each in (engine, disordered)
        )
        assert np.array_equal(made.codes, expected.codes)
        assert np.array_equal(made.nll, expected.nll)


def test_a_copy_that_nobody_waits_for_shows_when_it_arrives_late(kernels: Path, tmp_path: Path) -> None:
    """In a model whose table rows pass through shared memory."""
    bundle = write_odd(tmp_path, SEEN["a history longer than every frame"])
    awaited = "DEVICE void arrive() { await_copies(); }"

    def change(source: str) -> str:
        assert source.count(awaited) == 1
        return source.replace(awaited, "DEVICE void arrive() {}")

    hop = bundle.manifest.top_hop
    uniform, temperature = Uniforms(2, range(2)).next(2 * hop), np.ones((2, 2), np.float32)
    right = Engine(bundle, Cluster(HostDevice(kernels)), "fp16")
    expected = Batch(right, 2).generate(uniform, temperature, 0.0)
    for disorder, alike in ((0, True), (1, False)):
        late = Engine(bundle, Cluster(HostDevice(kernels, change=change, disorder=disorder)), "fp16")
        made = Batch(late, 2).generate(uniform, temperature, 0.0)
        assert np.array_equal(made.nll, expected.nll) == alike


def test_a_saved_sampler_goes_on_exactly(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    sampler = Sampler(bundle, 1, engine=engine)
    sampler.codes(21)
    sampler.save(tmp_path / "saved.npz")
    expected = sampler.codes(64)
    assert np.array_equal(Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine).codes(64), expected)


@pytest.mark.parametrize("shape", ODD)
def test_models_of_any_shape_agree_with_fp32(
    shape: str, kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slash_export.verify.SECONDS", 0.02)
    (verdict,) = compare(write_odd(tmp_path, ODD[shape]), [Cluster(HostDevice(kernels))])
    assert isinstance(verdict, Verdict) and verdict.fault is None, verdict


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model.hops=[2,4,8,16]"], "the kernel has 3 frame tiers, and the model 4"),
        (["model.mlp_layers=2"], "the kernel needs a hidden layer after the table"),
        (["model.width=64"], "a block of the sample tier needs .* bytes of shared memory, and has 4000"),
        (["model.history=200"], "a block of the sample tier needs .* bytes of shared memory, and has 4000"),
        (
            ["model.frame_sizes=[2100,16]", "model.mlp_layers=0"],
            "a block needs .* bytes of shared memory and more, .*",
        ),
    ],
)
def test_what_the_kernel_cannot_run_is_refused(overrides: list[str], reason: str, tmp_path: Path) -> None:
    bundle = write_odd(tmp_path, overrides)
    device = HostDevice(tmp_path, shared_bytes=4_000)
    with pytest.raises(UserError, match=rf"does not fit the engine cluster \({reason}\); use `engine` cuda or cpu"):
        Engine(bundle, Cluster(device), "fp16")


@pytest.mark.parametrize("shape", ["a history of one code", "no sample tier, the lowest frame is the largest"])
def test_codes_under_the_floor_are_never_drawn(shape: str, kernels: Path, tmp_path: Path) -> None:
    """Not even where rounding decides: a uniform of 1, which none is, is at the end of all sums."""
    bundle = write_odd(tmp_path, SEEN[shape])
    engine, floor = Engine(bundle, Cluster(HostDevice(kernels)), "fp16"), 0.0035
    steps = 64 // bundle.manifest.top_hop
    uniform = Uniforms(0, range(2)).next(steps * bundle.manifest.top_hop)
    uniform[:, ::4] = 1
    least = {}
    for used in (0.0, floor):
        drawn = Batch(engine, 2).generate(uniform, np.full((2, steps), 0.1, np.float32), used)
        assert drawn.fault(256) is None
        least[used] = np.exp(-drawn.nll.max())
    assert least[0.0] < floor / 2 and least[floor] > floor - 1e-5


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("shape", SEEN)
def test_codes_are_those_of_the_graphs(shape: str, clips: int, kernels: Path, tmp_path: Path) -> None:
    """One clip's table rows are in registers, those of two pass through shared memory."""
    bundle = write_odd(tmp_path, SEEN[shape])
    engine = Engine(bundle, Cluster(HostDevice(kernels)), "fp16")
    for floor in (0.0, 0.002):
        _assert_same_codes(bundle, engine, clips, floor=floor)


def _assert_same_codes(bundle: Bundle, engine: Engine, clips: int, floor: float) -> None:
    """Compare code by code, after a prime that is no multiple of a hop, and shorter than some contexts."""
    graphs, steps = Engine(bundle, OnnxCpu(), "fp16"), 32 // bundle.manifest.top_hop
    batch, expected = Batch(engine, clips), Batch(graphs, clips)
    primes = [np.random.default_rng(clip).integers(0, 256, 13, np.int32) for clip in range(clips)]
    for each in (batch, expected):
        each.prefill(primes)
    before = batch.state()
    assert _distance(before, expected.state()) < 0.01
    uniform = Uniforms(0, range(clips)).next(steps * bundle.manifest.top_hop)
    drawn = batch.generate(uniform, np.ones((clips, steps), np.float32), floor)
    forced = TeacherForced(bundle, graphs)
    forced.resume(before)
    logits = forced.logits(np.concatenate([before.history, drawn.codes], axis=1))
    left = np.exp(log_softmax(logits)) - floor
    off = distance_outside(np.log(np.maximum(left, 1e-30)), drawn.codes, uniform)
    nll = -np.take_along_axis(log_softmax(logits), drawn.codes[..., None].astype(np.int64), axis=-1)[..., 0]
    assert off.max() < 0.002 and (off > 0).mean() < 0.1, "codes other than rounding gives"  # one of 256 has 0.004
    assert np.abs(drawn.nll - nll).max() < 0.02
    context = np.concatenate([before.history, drawn.codes], axis=1)[:, -bundle.manifest.context :]
    assert _distance(batch.state(), GenerationState(context, forced.rnn_states)) < 0.01


def _distance(state: GenerationState, other: GenerationState) -> float:
    assert np.array_equal(state.history, other.history)
    tiers = zip(state.rnn_states, other.rnn_states, strict=True)
    return max(float(np.abs(one[name] - two[name]).max()) for one, two in tiers for name in two)


@pytest.mark.parametrize("history", [65, 500])
def test_a_history_fits_to_the_last_byte_or_is_refused(history: int, kernels: Path, tmp_path: Path) -> None:
    bundle = write_odd(tmp_path, [f"model.history={history}"])
    with pytest.raises(UserError) as refused:
        Engine(bundle, Cluster(HostDevice(kernels, shared_bytes=10_000)), "fp16")
    needed = re.findall(r"needs (\d+) bytes", str(refused.value))[0]
    with pytest.raises(UserError, match=f"needs {needed} bytes of shared memory, and has {int(needed) - 1}"):
        Engine(bundle, Cluster(HostDevice(kernels, shared_bytes=int(needed) - 1)), "fp16")
    device = HostDevice(kernels, shared_bytes=int(needed))
    _assert_same_codes(bundle, Engine(bundle, Cluster(device), "fp16"), clips=1, floor=0.0)


def test_a_bundle_without_fp16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no fp16 graphs; take fp32, or export it with fp16"):
        Engine(write_odd(tmp_path, [], ["fp32"]), Cluster(HostDevice(tmp_path)), "fp16")


MISTAKES = {
    "a barrier removed": ("block_sync();\n            watch.mark(3);", "watch.mark(3);"),
    "an index off by one": ("below = lane_of(sum, lane - 1)", "below = lane_of(sum, lane)"),
    "a place that is reused too early": ("op.mail + (step & 1) * op.mail_stride", "op.mail"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_kernel_does_not_pass(
    bundle: Bundle, mistake: str, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = MISTAKES[mistake]
    monkeypatch.setattr("slash_export.verify.SECONDS", 0.02)
    monkeypatch.setattr("host_device.PATIENCE", 200_000)

    def change(source: str) -> str:
        assert source.count(right) == 1
        return source.replace(right, wrong)

    try:
        (verdict,) = compare(bundle, [Cluster(HostDevice(kernels, change=change))])
    except RuntimeError as error:
        assert "gave up" in str(error)
    else:
        assert isinstance(verdict, Verdict) and verdict.fault is not None, verdict
