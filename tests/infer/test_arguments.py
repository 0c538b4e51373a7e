"""What the Python API is passed: a wrong type or value is refused at once, and nothing hangs or takes all memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from slash_infer import Bundle, Sampler, TemperatureSchedule, UserError
from slash_infer.bench.latency import measure_live
from slash_infer.bench.throughput import measure
from slash_infer.choices import EngineName, PrecisionName
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.codec import Codec
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.floor import as_floor, highest_floor

NAN, INF = float("nan"), float("inf")
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        np.bool_(True),
        NAN,
        INF,
        -INF,
        -1,
        0,
        -1.5,
        1e300,
        2**64,
        10**400,
        10**5000,
        1j,
        np.complex64(1),
    ),
    *("", "x", "a\0b", b"x", [], (), {}, set(), object(), [None], [[1]], [[1], [1, 2]], "9" * 5000),
    *(np.array(["a"]), np.array([[1.0]]), np.array([NAN]), np.zeros(0), np.datetime64("2020"), Path("x")),
]


def refused(call: Callable[[Any], object], values: list[Any], ends: str = "") -> None:
    """Check that a call with any of these values is refused in one printable line that names the argument."""
    for value in values:
        with pytest.raises(UserError, match=rf"^`\w+`.*: .*{ends}") as raised:
            call(value)
        assert str(raised.value).isprintable() and len(str(raised.value)) < 500


def without(*fine: Any) -> list[Any]:
    """Return the odd values, except some that are none to a function."""
    return [
        value for value in ODD if not any(value is one or (type(value) is type(one) and value == one) for one in fine)
    ]


def test_whole_numbers(bundle: Bundle, engine: Engine) -> None:
    def made(**options: Any) -> Sampler:
        return Sampler(bundle, engine=engine, **options)

    refused(
        lambda clips: made(clips=clips), [*without(), 65_537, range(10**12), [0.5], [True], [2**64], [0] * 65_537]
    )
    refused(lambda seed: made(seed=seed), without(0))
    refused(made().codes, [*without(0), 2**30 + 1])
    refused(lambda cores: OnnxCpu(cores=cores), without(None))
    refused(lambda runs: measure(bundle, [1], engine, runs=runs), without())
    assert made(clips=np.int64(2), seed=np.int64(5)).seed == 5
    assert made(clips=np.array([3, 1])).clips == [3, 1]
    assert made().codes(np.int32(7)).shape == (1, 7)  # type: ignore[arg-type]


def test_lengths(bundle: Bundle, engine: Engine) -> None:
    sampler = Sampler(bundle, 4, engine=engine)
    refused(sampler.generate, without(0))
    refused(sampler.generate, [INF, 1e300, 10**300, 20_000], ends="samples of all clips together; stream it")
    refused(lambda block: sampler.stream(INF, block_seconds=block), [1e300, 20_000], ends="shorten it")
    for seconds in without(INF, 0, 1e300, 2**64):
        with pytest.raises(UserError, match="must be 0 or more, in blocks over 0"):
            sampler.stream(seconds)  # at once, not when the first block is taken
    for block in without(1e300, 2**64):
        with pytest.raises(UserError, match="must be 0 or more, in blocks over 0"):
            sampler.stream(1.0, block_seconds=block)
    assert next(sampler.stream(1e300)).shape == (4, 4000)
    assert next(sampler.stream(np.float32(0.5), block_seconds=1e300)).shape == (4, 8000)  # type: ignore[arg-type]
    assert sampler.generate(0).shape == (4, 0)
    refused(lambda seconds: measure(bundle, [1], engine, seconds=seconds), without())
    refused(lambda seconds: measure_live(bundle, engine, seconds), without())


def test_temperatures(bundle: Bundle, engine: Engine) -> None:
    refused(lambda temperature: Sampler(bundle, temperature=temperature, engine=engine), [*without(), 0.0099, 100.1])
    refused(TemperatureSchedule, without())
    refused(lambda time: TemperatureSchedule(((time, 1.0),)), without(0, 2**64, 1e300))
    refused(lambda value: TemperatureSchedule(((0.0, value),)), without())
    refused(TemperatureSchedule.constant, without())
    for seconds in ([NAN], None, "x", 1j, [None]):
        with pytest.raises(UserError, match=r"`seconds`.* must be numbers"):
            TemperatureSchedule.constant(1.0).at(seconds)  # type: ignore[arg-type]
    assert Sampler(bundle, 2, temperature=np.array([1.0, 0.5]), engine=engine).clips == [0, 1]  # type: ignore[arg-type]
    points: Any = [[0, np.float32(0.5)], (1, 2)]
    assert TemperatureSchedule(points).points == ((0.0, 0.5), (1.0, 2.0))


def test_floors(bundle: Bundle, engine: Engine) -> None:
    most = 0.9 / 256
    refused(
        lambda floor: Sampler(bundle, floor=floor, engine=engine), [*without(0, None), np.nextafter(most, 1), -1e-300]
    )
    range_ = r"must be from 0 to 0\.003515625, which is 0\.9 / 256 levels of the codec"
    with pytest.raises(UserError, match=f"^`floor` 0\\.004: {range_}; 0 leaves no code out$"):
        Sampler(bundle, floor=0.004, engine=engine)
    assert Sampler(bundle, floor=np.float32(0.0035), engine=engine).floor == np.float32(0.0035)  # type: ignore[arg-type]
    assert Sampler(bundle, floor=most, engine=engine).codes(40).shape == (1, 40)


def test_candidates(bundle: Bundle, engine: Engine) -> None:
    refused(lambda candidates: Sampler(bundle, candidates=candidates, engine=engine), [*without(), 65])
    refused(lambda restart: Sampler(bundle, restart=restart, engine=engine), without(True, False))
    with pytest.raises(UserError, match=r"^`candidates` 65: must be from 1 to 64$"):
        Sampler(bundle, candidates=65, engine=engine)


@pytest.mark.parametrize("levels", [2, 256, 65_536])
def test_a_default_floor_fits_any_codec(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_floor(as_floor(None, levels), levels) == as_floor(None, levels)
    monkeypatch.setattr("slash_infer.sampling.floor.DEFAULT_FLOOR", 0.002)
    assert as_floor(None, levels) * levels == pytest.approx(0.512) and as_floor(None, levels) < highest_floor(levels)


def test_words(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    saved = tmp_path / "saved.npz"
    Sampler(bundle, engine=engine).save(saved)
    for words, choose in (
        (EngineName, lambda word: Sampler(bundle, engine=word)),
        (PrecisionName, lambda word: Sampler(bundle, precision=word, engine=engine)),
        (EngineName, lambda word: open_engine(bundle, word)),
        (PrecisionName, lambda word: open_engine(bundle, "cpu", word)),
        (EngineName, lambda word: Sampler.restore(saved, bundle, engine=word)),
    ):
        refused(choose, [*without(), "gpu", "CPU"], ends=f"must be {' or '.join(get_args(words))}")
    refused(lambda word: Sampler.restore(saved, bundle, precision=word), without(None))
    refused(bundle.variant, without())
    refused(lambda answer: Sampler(bundle, batch_invariant=answer, engine=engine), without(True, False))


def test_bundles_and_paths(bundle: Bundle, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / "saved.npz"
    Sampler(bundle, engine=engine).save(saved)
    refused(lambda path: Sampler(path, engine=engine), [*without(), str(bundle.path)], ends=r"Bundle\(path\)")
    refused(lambda other: Sampler.restore(saved, other), without(), ends=r"Bundle\(path\)")
    refused(lambda path: open_engine(path, "cpu"), [*without(), str(bundle.path)], ends=r"Bundle\(path\)")
    refused(lambda path: Engine(path, engine.runtime), [*without(), str(bundle.path)], ends=r"Bundle\(path\)")
    paths = [value for value in ODD if not isinstance(value, Path | str)] + ["a\0b"]
    for call in (Bundle, Sampler(bundle, engine=engine).save, lambda path: Sampler.restore(path, bundle)):
        refused(call, paths, ends="must be the path of a file or folder")
    for path in ("", "x", Path("x"), "9" * 5000):
        with pytest.raises(UserError):
            Bundle(path)
        with pytest.raises(UserError):
            Sampler.restore(path, bundle)
    refused(bundle.read, without(), ends="take one from its manifest")
    refused(bundle.initial_state, without(), ends="take one from its manifest")


def test_an_engine_of_another_bundle(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in bundle.path.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    same = Sampler(Bundle(other), engine=engine)
    assert same.codes(1).shape == (1, 1)
    manifest = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(manifest.replace('"sample_rate": 16000', '"sample_rate": 16001'))
    with pytest.raises(UserError, match="`engine`: runs another bundle"):
        Sampler(Bundle(other), engine=engine)


def test_primes(bundle: Bundle, engine: Engine) -> None:
    sampler = Sampler(bundle, 2, engine=engine)
    odd = [
        value for value in ODD if not (isinstance(value, np.ndarray) and not value.size)
    ]  # silence can be continued
    refused(sampler.prime, [*odd, np.zeros(5, complex), np.zeros((2, 2, 2)), [np.zeros(3), None]])


def test_jobs(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    refused(lambda file: ClipSpec(file, 0), without(Path("x")))
    refused(lambda number: ClipSpec(clip, number), without(0))
    refused(lambda temperature: ClipSpec(clip, 0, temperature), [*without(), 1.0])
    refused(lambda seconds: RenderOptions(seconds, 0), without(INF, 0, 1e300, 2**64))
    refused(lambda seed: RenderOptions(1.0, seed), without(0))
    refused(lambda floor: RenderOptions(1.0, 0, floor=floor), without(0, None))
    refused(lambda candidates: RenderOptions(1.0, 0, candidates=candidates), without())
    refused(lambda restart: RenderOptions(1.0, 0, restart=restart), without(True, False))
    refused(lambda normalise: RenderOptions(1.0, 0, normalise=normalise), without(None))
    for bits in (0, 20, None, NAN):
        with pytest.raises(UserError, match="`bits`"):
            render(bundle, engine, [ClipSpec(clip, 0)], RenderOptions(0.1, 0, bits=bits))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"\.mp3: is not written; choose \.wav"):
        render(bundle, engine, [ClipSpec(clip.with_suffix(".mp3"), 0)], RenderOptions(0.1, 0))
    with pytest.raises(UserError, match=r"`floor` 0\.5: must be from 0 to 0\.003515625"):
        render(bundle, engine, [ClipSpec(clip, 0)], RenderOptions(0.1, 0, floor=0.5))
    assert [*tmp_path.iterdir()] == []


def test_the_codec_says_what_it_cannot_encode_or_decode() -> None:
    codec = Codec()
    for samples in (None, NAN, "x", b"x", 1j, [None], {}, object(), True, 10**400, [NAN, 0.0]):
        with pytest.raises(ValueError, match=r"samples must be real numbers|cannot quantise NaN"):
            codec.encode(samples)  # type: ignore[arg-type]
    for codes in (None, NAN, 0.5, "x", 1j, [None], object(), True, -1, 256, 2**64, [0, 256]):
        with pytest.raises(ValueError, match=r"codes must be integers|codes must be in \[0, 256\)"):
            codec.decode(codes)  # type: ignore[arg-type]
    assert codec.encode([INF, -INF]).tolist() == [255, 0]
    assert codec.decode([]).size == codec.encode([]).size == 0


def test_a_long_request_is_made_in_pieces(bundle: Bundle, engine: Engine) -> None:
    """The codes are those of one piece."""
    many = Sampler(bundle, 2048, candidates=1, engine=engine)
    made = many.codes(520)  # over 2^20 in all
    assert np.array_equal(made[[0, 2047]], Sampler(bundle, [0, 2047], candidates=1, engine=engine).codes(520))
