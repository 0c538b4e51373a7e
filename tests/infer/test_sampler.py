"""The sampler: what a clip does and does not depend on, how it begins, and how it goes on."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from slash_export.teacher_forcing import TeacherForced, log_softmax
from slash_infer import Bundle, Sampler, TemperatureSchedule, UserError
from slash_infer.bench.throughput import measure
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_train.guitar import improvise
from slash_train.run import Run


def test_clip_k_alone_equals_clip_k_in_a_batch(bundle: Bundle, engine: Engine) -> None:
    together = Sampler(bundle, range(9), seed=5, engine=engine).codes(2000)
    for clip in (0, 4, 8):
        assert np.array_equal(Sampler(bundle, [clip], seed=5, engine=engine).codes(2000)[0], together[clip])


def test_a_number_of_clips_is_clips_from_0_on(bundle: Bundle, engine: Engine) -> None:
    expected = Sampler(bundle, [0, 1, 2], engine=engine).codes(100)
    assert np.array_equal(Sampler(bundle, clips=3, engine=engine).codes(100), expected)


def test_one_clip_is_padded_where_another_batch_rounds_differently(bundle: Bundle) -> None:
    int8 = Engine(bundle, OnnxCpu(), "int8")
    many = Sampler(bundle, 5, seed=1, engine=int8).codes(4000)
    for clip in range(5):
        assert np.array_equal(Sampler(bundle, [clip], seed=1, engine=int8).codes(4000)[0], many[clip])
    assert Sampler(bundle, [3], candidates=1, engine=int8).rows == 2
    assert Sampler(bundle, 1, candidates=1, engine=int8, batch_invariant=False).rows == 1  # the fast path


def test_a_clip_does_not_depend_on_how_it_is_asked_for(bundle: Bundle, engine: Engine) -> None:
    whole = Sampler(bundle, [0, 1], seed=2, engine=engine).codes(500)
    pieces = Sampler(bundle, [0, 1], seed=2, engine=engine)
    assert np.array_equal(np.concatenate([pieces.codes(n) for n in (1, 15, 16, 17, 0, 451)], axis=1), whole)


def test_clips_and_seeds_differ(bundle: Bundle, engine: Engine) -> None:
    a = Sampler(bundle, [0, 1], seed=0, engine=engine).codes(400)
    b = Sampler(bundle, [0], seed=1, engine=engine).codes(400)
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], b[0])


def test_the_state_is_carried_between_frames(bundle: Bundle, engine: Engine) -> None:
    """Overwriting the LSTM state at every frame must change the audio: otherwise it would not matter."""
    carried, forgetful = engine.runner(1), engine.runner(1)
    uniforms, temperature = Uniforms(0, [0]), np.ones((1, 1), np.float32)
    expected, made = [], []
    for _ in range(40):
        state = forgetful.state()
        for array in (array for tier in state.rnn_states for array in tier.values()):
            array[...] = 0.5
        forgetful.set_state(state)
        uniform = uniforms.next(bundle.manifest.top_hop)
        made.append(forgetful.generate(uniform, temperature, 0.0).codes)
        expected.append(carried.generate(uniform, temperature, 0.0).codes)
    assert not np.array_equal(np.concatenate(made), np.concatenate(expected))


def test_a_low_temperature_is_likelier_and_a_high_one_wilder(bundle: Bundle, engine: Engine) -> None:
    def roughness(temperature: float) -> float:
        made = Sampler(bundle, 4, temperature=temperature, engine=engine).generate(0.25)
        return float(np.abs(np.diff(made, axis=1)).mean())

    assert roughness(0.2) < roughness(1.0) < roughness(5.0)


def test_temperatures_are_each_clips_own_and_move_over_time(bundle: Bundle, engine: Engine) -> None:
    plain = partial(
        Sampler, bundle, candidates=1, restart=False, engine=engine
    )  # a choice hears the rest of its block
    warm, cold = (plain(1, temperature=t).codes(3200)[0] for t in (1.0, 0.1))
    moving = TemperatureSchedule(((0.1, 1.0), (0.1001, 0.1)))
    both = plain(2, temperature=[moving, 0.1])
    made = np.stack([both.codes(3200)[0], plain([0], temperature=0.1).codes(3200)[0]])
    assert np.array_equal(made[0][:1600], warm[:1600])
    assert not np.array_equal(made[0][1600:], warm[1600:])
    assert np.array_equal(made[1], cold)
    assert np.array_equal(plain(2, temperature=[1.0, 0.1]).codes(800)[0], warm[:800])
    with pytest.raises(UserError, match="3 temperatures for 2 clips"):
        plain(2, temperature=[1.0, 1.0, 1.0])


def test_codes_under_the_floor_are_never_drawn(bundle: Bundle, engine: Engine) -> None:
    """By the probabilities that the graphs themselves give, of every code of some clips; batches do not matter."""
    floor, forced = 0.003, TeacherForced(bundle, engine)
    drawn, least = {}, {}
    for used in (0.0, floor):
        sampler = Sampler(bundle, 6, seed=4, floor=used, engine=engine)
        drawn[used] = sampler.codes(800)
        forced.start(6)
        silence = np.full((6, bundle.manifest.context), 128, np.int32)
        logits = forced.logits(np.concatenate([silence, drawn[used]], axis=1))
        nll = -np.take_along_axis(log_softmax(logits), drawn[used][..., None].astype(np.int64), axis=-1)[..., 0]
        least[used] = np.exp(-nll.max())
        assert sampler.bits == pytest.approx(nll.mean(axis=1) / np.log(2), abs=1e-4)  # before the floor
    assert least[0.0] < floor / 10 and least[floor] > floor - 1e-6
    assert not np.array_equal(drawn[0.0], drawn[floor])
    for clips in ([3], [5, 0]):
        assert np.array_equal(
            Sampler(bundle, clips, seed=4, floor=floor, engine=engine).codes(800), drawn[floor][clips]
        )


def test_a_saved_sampler_keeps_its_floor(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    whole, without = (Sampler(bundle, 3, floor=floor, engine=engine).codes(1600) for floor in (0.003, 0.0))
    first = Sampler(bundle, 3, floor=0.003, engine=engine)
    begun = first.codes(403)
    first.save(tmp_path / "saved.npz")
    rest = Sampler.restore(tmp_path / "saved.npz", bundle, engine=engine)
    assert rest.floor == 0.003
    assert np.array_equal(np.concatenate([begun, rest.codes(1197)], axis=1), whole)
    assert not np.array_equal(whole, without)


def test_audio_is_float32_in_range_and_as_long_as_asked(bundle: Bundle, engine: Engine) -> None:
    made = Sampler(bundle, [0, 1], engine=engine).generate(0.1)
    assert made.shape == (2, 1600) and made.dtype == np.float32
    assert np.abs(made).max() <= 1.0
    blocks = [block.shape for block in Sampler(bundle, [0], engine=engine).stream(0.6)]
    assert blocks == [(1, 4000), (1, 4000), (1, 1600)]
    with Sampler(bundle, engine=engine) as sampler:
        assert [block.shape[1] for block in sampler.stream(0.0041, block_seconds=0.001)] == [16, 16, 16, 16, 2]
        assert sampler.seconds == 66 / 16_000


@pytest.mark.parametrize(("precision", "clips", "seconds"), [("fp32", 3, 1.0), ("int8", 1, 2.5)])
def test_a_saved_sampler_goes_on_in_another_process(
    bundle: Bundle, tmp_path: Path, precision: str, clips: int, seconds: float
) -> None:
    """Some seconds, saved at a time that is no multiple of a frame, and as many more are all of them in one go."""
    choice = {"engine": "cpu", "precision": precision}
    moving = TemperatureSchedule(((0.0, 0.9), (20.0, 1.1)))
    program = f"""
import numpy as np
from slash_infer import Bundle, Sampler
sampler = Sampler.restore("saved.npz", Bundle({str(bundle.path)!r}), **{choice})
np.savez("rest.npz", made=sampler.generate({seconds}), bits=sampler.bits)
"""
    whole = Sampler(bundle, clips, seed=7, temperature=moving, **choice)  # type: ignore[arg-type]
    expected = whole.generate(2 * seconds + 0.0001)
    first = Sampler(bundle, clips, seed=7, temperature=moving, **choice)  # type: ignore[arg-type]
    begun = first.generate(seconds + 0.0001)
    first.save(tmp_path / "saved.npz")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    rest = np.load(tmp_path / "rest.npz")
    assert np.array_equal(np.concatenate([begun, rest["made"]], axis=1), expected)
    assert np.allclose(rest["bits"], whole.bits, rtol=1e-12)


def test_a_saved_sampler_fits_another_precision(bundle: Bundle, tmp_path: Path) -> None:
    """The state is that of the clips alone, whatever a batch was padded to."""
    for before, after in (("int8", "fp32"), ("fp32", "int8")):
        one = Sampler(bundle, [4], engine="cpu", precision=before)  # type: ignore[arg-type]
        one.codes(100)
        one.save(tmp_path / "saved.npz")
        same = Sampler.restore(tmp_path / "saved.npz", bundle, engine="cpu")
        assert same.engine.precision == before
        again = Sampler.restore(tmp_path / "saved.npz", bundle, engine="cpu", precision=after)  # type: ignore[arg-type]
        assert again.clips == [4] and again.codes(100).shape == (1, 100)


def test_what_was_not_saved_is_not_restored(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    saved = tmp_path / "saved.npz"
    with pytest.raises(UserError, match="no such file"):
        Sampler.restore(saved, bundle)
    sampler = Sampler(bundle, 2, engine=engine)
    sampler.codes(100)
    sampler.save(saved)
    whole = saved.read_bytes()
    arrays = dict(np.load(saved))
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], bytes(len(whole))):
        saved.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a sampler that was saved"):
            Sampler.restore(saved, bundle)
    history = arrays["history"].copy()
    history[0, 0] = bundle.manifest.codec.levels
    for change, says in (
        ({"nll_sum": np.zeros(3)}, "does not fit"),
        ({"nll_sum": np.array([0.0, np.nan])}, "nll_sum is not finite"),
        (
            {"metadata": np.array(str(arrays["metadata"]).replace('"generated":1024', '"generated":1'))},
            "do not fit together",
        ),
        (
            {"metadata": np.array(str(arrays["metadata"]).replace('"generated":1024', '"generated":1' + "0" * 30))},
            "generated",
        ),
        ({"metadata": np.array(str(arrays["metadata"]).replace("[[0.0,1.0]]", "[[0.0,-1.0]]"))}, "must be from 0.01"),
        *(
            ({"metadata": np.array(re.sub('"floor":[^,]*', f'"floor":{floor}', str(arrays["metadata"])))}, says)
            for floor, says in (
                ("0.004", "is damaged .its floor is out of range"),
                ("-1e-9", "is damaged .its floor is out of range"),
                ("NaN", "is damaged .its floor is out of range"),
                ('"low"', "floor"),
            )
        ),
        ({"metadata": np.array("[" * 100_000)}, "is not a sampler that was saved"),
        ({"tier_1.h": arrays["tier_1.h"].astype(np.float64)}, "tier_1.h does not fit"),
        ({"history": history}, "codes that the bundle's codec does not have"),
        ({"metadata": np.array(str(arrays["metadata"]).replace('"seed":0', '"seed":-1'))}, "seed"),
        ({"metadata": np.array(str(arrays["metadata"]).replace(bundle.manifest_sha256, "0" * 64))}, "another bundle"),
        ({"nll_sum": np.array([Path()], object)}, "is not a sampler that was saved"),  # a pickle
    ):
        np.savez(saved, **{**arrays, **change})
        with pytest.raises(UserError, match=says):
            Sampler.restore(saved, bundle, engine=engine)


def test_a_saved_sampler_is_read_within_bounds(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    saved = tmp_path / "saved.npz"
    Sampler(bundle, engine=engine).save(saved)
    arrays = dict(np.load(saved))
    np.savez_compressed(saved, **arrays, bomb=np.zeros(10**8, np.uint8))
    assert saved.stat().st_size < 10**6
    with pytest.raises(UserError, match="it unpacks to more than its size"):
        Sampler.restore(saved, bundle, engine=engine)
    os.truncate(saved, 5 << 30)  # sparse
    with pytest.raises(UserError, match=r"saved\.npz: cannot be read .* are the most"):
        Sampler.restore(saved, bundle, engine=engine)
    saved.unlink()
    os.mkfifo(saved)
    with pytest.raises(UserError, match="not a plain file"):
        Sampler.restore(saved, bundle, engine=engine)


def test_a_prime_is_continued_as_the_model_continues_it(bundle: Bundle, engine: Engine, run: Run) -> None:
    """The first samples after primes of several lengths have the distribution of the teacher-forced PyTorch model."""
    hop, context = bundle.manifest.top_hop, bundle.manifest.context
    riffs = [improvise(0.3, [1, i])[::3] for i in range(2)] * 40
    riffs = [riff[: 4800 - 7 * i] for i, riff in enumerate(riffs)]  # some fill whole frames, most do not
    sampler = Sampler(bundle, len(riffs), seed=3, floor=0.0, candidates=1, engine=engine)
    sampler.prime(riffs)
    made, first_bits = sampler.codes(hop), sampler.bits
    uniform = Uniforms(3, range(len(riffs))).next(hop)
    model = run.load_model("best").model
    for clip, riff in enumerate(riffs):
        heard = bundle.manifest.codec.encode(riff)
        silence = np.full(context + -len(heard) % hop, bundle.manifest.codec.silence)
        codes = torch.from_numpy(np.concatenate([silence, heard, made[clip]])[np.newaxis])
        with torch.inference_mode():
            logits, _ = model.double()(codes.long(), model.double().initial_state(1))
        probabilities = torch.softmax(logits[0, -hop:].double(), dim=-1).numpy()
        edges = np.concatenate([np.zeros((hop, 1)), probabilities.cumsum(axis=1)], axis=1)
        steps = np.arange(hop)
        assert (edges[steps, made[clip]] - 1e-5 <= uniform[clip]).all()
        assert (uniform[clip] <= edges[steps, made[clip] + 1] + 1e-5).all()
        bits = -np.log2(probabilities[steps, made[clip]]).mean()
        assert first_bits[clip] == pytest.approx(bits, abs=1e-4)


def test_primes_do_not_show_in_other_clips(bundle: Bundle, engine: Engine) -> None:
    riffs = [improvise(seconds, [2, i])[::3] for i, seconds in enumerate((0.2, 0.5, 0.01))]
    riffs.append(np.zeros(0, np.float32))
    together = Sampler(bundle, 4, engine=engine)
    together.prime(riffs)
    made = together.codes(500)
    for clip, riff in enumerate(riffs):
        alone = Sampler(bundle, [clip], engine=engine)
        alone.prime(riff)
        assert np.array_equal(alone.codes(500)[0], made[clip])
    unprimed = Sampler(bundle, 4, engine=engine).codes(500)
    assert np.array_equal(made[3], unprimed[3]) and not np.array_equal(made[0], unprimed[0])


def test_a_second_prime_takes_the_place_of_the_first(bundle: Bundle, engine: Engine) -> None:
    riffs = [improvise(0.2, [8, i])[::3][: 3000 - 500 * i] for i in range(2)]
    twice, once = Sampler(bundle, 2, engine=engine), Sampler(bundle, 2, engine=engine)
    twice.prime(improvise(0.3, [9])[::3])
    for sampler in (twice, once):
        sampler.prime(riffs)
    assert np.array_equal(twice.codes(500), once.codes(500))


def test_long_primes_are_fed_piece_by_piece(bundle: Bundle, engine: Engine) -> None:
    riffs = [improvise(0.5, [7, i])[::3][: 8000 - 999 * i] for i in range(3)]
    uniform = Uniforms(0, range(3)).next(512)
    made = []
    for steps_at_once in (7, 1024):
        batch = Batch(engine, 3)
        batch.prefill([bundle.manifest.codec.encode(riff) for riff in riffs], steps_at_once=steps_at_once)
        temperature = np.ones((3, 512 // bundle.manifest.top_hop), np.float32)
        made.append(batch.generate(uniform, temperature, 0.0).codes)
    assert np.array_equal(made[0], made[1])


def test_priming_says_how_much_has_been_heard(bundle: Bundle, engine: Engine) -> None:
    """Of the longest prime, step by step."""
    seconds = list[float]()
    Sampler(bundle, 2, engine=engine).prime([np.zeros(50_000), np.zeros(500)], heard=seconds.append)
    assert seconds == sorted(set(seconds)) and len(seconds) >= 4
    assert seconds[-1] == pytest.approx(50_000 / bundle.manifest.sample_rate)


def test_primes_that_do_not_fit_are_refused(bundle: Bundle, engine: Engine) -> None:
    sampler = Sampler(bundle, 2, engine=engine)
    with pytest.raises(UserError, match="one array of samples for all clips, or"):
        sampler.prime([np.zeros(5)])
    with pytest.raises(UserError, match="divide those of integers"):
        sampler.prime(np.zeros(5, np.int16))
    with pytest.raises(UserError, match="not finite"):
        sampler.prime(np.array([0.0, np.nan]))
    sampler.codes(1)
    with pytest.raises(UserError, match="have begun"):
        sampler.prime(np.zeros(5))


@pytest.mark.parametrize("clips", [0, -3, []])
def test_no_clips_are_refused(bundle: Bundle, engine: Engine, clips: int | list[int]) -> None:
    with pytest.raises(UserError, match="must be 1 or more"):
        Sampler(bundle, clips, engine=engine)


@pytest.mark.parametrize(("seconds", "block"), [(-1.0, 0.25), (float("nan"), 0.25), (1.0, 0.0), (1.0, float("inf"))])
def test_lengths_out_of_range_are_refused(bundle: Bundle, engine: Engine, seconds: float, block: float) -> None:
    with pytest.raises(UserError, match="must be 0 or more, in blocks over 0"):
        next(Sampler(bundle, engine=engine).stream(seconds, block_seconds=block))


@pytest.mark.parametrize(("seconds", "block"), [(0.01, 1e308), (1e308, 0.25)])
def test_lengths_of_which_no_sample_count_exists(
    bundle: Bundle, engine: Engine, seconds: float, block: float
) -> None:
    first = next(Sampler(bundle, engine=engine).stream(seconds, block_seconds=block))
    assert first.shape == (1, round(min(seconds, block) * bundle.manifest.sample_rate))


def test_a_closed_sampler_is_not_used(bundle: Bundle, engine: Engine) -> None:
    with Sampler(bundle, 2, engine=engine) as sampler:
        sampler.codes(10)
    with pytest.raises(ValueError, match="closed"):
        sampler.codes(100)


def test_speed_is_measured_per_clip_and_per_batch(bundle: Bundle, engine: Engine) -> None:
    one, four = measure(bundle, [1, 4], engine, seconds=0.02, runs=3)
    assert one.realtime_clip == one.realtime_batch > 0
    assert four.realtime_batch == pytest.approx(4 * four.realtime_clip)
    assert four.slowest <= four.samples_per_second <= four.fastest
