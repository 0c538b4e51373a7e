"""Jobs of clips: files and their sidecars, shorter when stopped, resumed, in parts, and the best of many."""

import itertools
import json
import resource
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_cli.again import again
from slash_cli.clip_files import clip_numbers
from slash_infer.audio.ear.hearing import hear
from slash_infer.audio.ear.source import source_of
from slash_infer.audio.measures import measure
from slash_infer.bundle import MANIFEST, Bundle
from slash_infer.clips.best_of import best_of
from slash_infer.clips.clip_file import sidecar_beside
from slash_infer.clips.primes import read_prime
from slash_infer.clips.render import render
from slash_infer.clips.resume import unfinished
from slash_infer.clips.sidecar import Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.codec import to_pcm16
from slash_infer.errors import UserError
from slash_infer.machine import raise_open_files
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train.guitar import improvise

OPTIONS = RenderOptions(seconds=0.05, seed=9)


def specs(folder: Path, clips: range, suffix: str = ".wav", **others: object) -> list[ClipSpec]:
    return [ClipSpec(folder / f"{clip}{suffix}", clip, **others) for clip in clips]  # type: ignore[arg-type]


def heard(path: Path) -> npt.NDArray[np.int16]:
    samples, _ = soundfile.read(path, dtype="int16")
    return np.asarray(samples, np.int16)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_files_hold_what_the_sampler_makes(bundle: Bundle, engine: Engine, tmp_path: Path, suffix: str) -> None:
    job = specs(tmp_path, range(OnnxCpu.clips_together + 2), suffix, temperature=TemperatureSchedule.constant(0.9))
    rendered = render(bundle, engine, job, OPTIONS)
    sampler = Sampler(bundle, [17], seed=9, temperature=0.9, engine=engine)
    expected = sampler.generate(0.05)[0]
    assert np.array_equal(heard(tmp_path / f"17{suffix}"), to_pcm16(expected))
    sidecar = Sidecar.read(tmp_path / "17.json")
    recipe, outcome = sidecar.recipe, sidecar.outcome
    assert (recipe.seed, recipe.clip, recipe.temperature, outcome.seconds) == (9, 17, 0.9, 0.05)
    assert outcome.complete and outcome.bits_per_sample == round(float(sampler.bits[0]), 4)
    assert rendered.seconds == pytest.approx(0.9)
    assert (rendered.together, rendered.stopped) == (OnnxCpu.clips_together, False)
    assert len(contents(tmp_path)) == 2 * len(job)


def test_a_prime_comes_first_in_the_file_when_asked_for(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "riff.wav", improvise(0.25, [3]), 48_000)
    prime = read_prime(tmp_path / "riff.wav", bundle.manifest)
    for name, include in (("without", False), ("with", True)):
        render(bundle, engine, specs(tmp_path / name, range(1), prime=prime), replace(OPTIONS, include_prime=include))
    continued = heard(tmp_path / "without" / "0.wav")
    sampler = Sampler(bundle, [0], seed=9, engine=engine)
    sampler.prime(prime.samples)
    assert np.array_equal(continued, to_pcm16(sampler.generate(0.05)[0]))
    assert np.array_equal(heard(tmp_path / "with" / "0.wav"), np.concatenate([to_pcm16(prime.samples), continued]))
    sidecar = Sidecar.read(tmp_path / "with" / "0.json")
    assert sidecar.prime == prime.source and sidecar.outcome.seconds == 0.05
    assert sidecar.recipe.prime_sha256 == prime.sha256


def test_normalised_files_are_as_loud_as_asked(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    render(bundle, engine, specs(tmp_path, range(1)), replace(OPTIONS, normalise="peak"))
    assert np.abs(heard(tmp_path / "0.wav")).max() == pytest.approx(32768 * 10 ** (-1 / 20), abs=1)


def test_a_stopped_job_leaves_shorter_files_and_goes_on(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    """Stopped in the second batch. Called again: finished clips are not touched, those cut short are made whole."""
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    options, clips = replace(OPTIONS, seconds=0.6), range(OnnxCpu.clips_together + 3)
    render(bundle, engine, specs(whole, clips), options)
    asked = itertools.count()
    rendered = render(bundle, engine, specs(begun, clips), options, stop=lambda: next(asked) == 6)
    assert rendered.stopped and len(rendered.clips) == len(clips)
    short = heard(begun / f"{OnnxCpu.clips_together}.wav")
    assert np.array_equal(short, heard(whole / f"{OnnxCpu.clips_together}.wav")[: len(short)]) and len(short) == 8000
    outcome = Sidecar.read(begun / f"{OnnxCpu.clips_together}.json").outcome
    assert (outcome.complete, outcome.seconds) == (False, 0.5)
    before = {path: path.stat().st_mtime_ns for path in begun.iterdir()}
    left = unfinished(bundle, engine, specs(begun, clips), options, force=False)
    assert [spec.clip for spec in left] == list(range(OnnxCpu.clips_together, OnnxCpu.clips_together + 3))
    cut_short_again = render(bundle, engine, left, options, stop=itertools.count().__next__)
    assert cut_short_again.stopped and {path: path.stat().st_mtime_ns for path in begun.iterdir()} == before
    render(bundle, engine, left, options)
    for clip in clips:
        assert (begun / f"{clip}.wav").read_bytes() == (whole / f"{clip}.wav").read_bytes()
    touched = {path.stem for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert touched == {str(spec.clip) for spec in left}
    assert unfinished(bundle, engine, specs(begun, clips), options, force=False) == []
    assert len(unfinished(bundle, engine, specs(begun, clips), options, force=True)) == len(clips)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "another seed"),
        ({"seconds": 0.06}, "another length"),
        ({"normalise": "peak"}, "another normalise"),
        ({"floor": 0.003}, "another floor"),
        ({"seconds": float("inf")}, "another length"),
    ],
)
def test_another_job_in_the_same_place_is_refused(
    bundle: Bundle, engine: Engine, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    job = specs(tmp_path, range(1))
    render(bundle, engine, job, OPTIONS)
    with pytest.raises(UserError, match=f"already exists, with {says}"):
        unfinished(bundle, engine, job, replace(OPTIONS, **change), force=False)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="another temperature"):
        other = specs(tmp_path, range(1), temperature=TemperatureSchedule.constant(0.5))
        unfinished(bundle, engine, other, OPTIONS, force=False)


def test_what_a_killed_process_left_is_no_hindrance(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    """It writes the sidecar before the clip appears."""
    job = specs(tmp_path, range(2))
    render(bundle, engine, job, OPTIONS)
    job[1].file.unlink()
    assert unfinished(bundle, engine, job, OPTIONS, force=False) == job[1:]
    job[0].file.with_suffix(".json").write_text("{}")
    with pytest.raises(UserError, match=r"is not the sidecar of a clip|was not made by"):
        unfinished(bundle, engine, job, OPTIONS, force=False)


def test_a_clip_of_another_version_is_replaced_by_force_alone(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    job = specs(tmp_path, range(1))
    render(bundle, engine, job, OPTIONS)
    path = sidecar_path(job[0].file)
    path.write_text(path.read_text().replace('"schema_version": 6', '"schema_version": 1'))
    with pytest.raises(UserError, match=r"0\.json: was written by another version of Slash; make the clip again"):
        unfinished(bundle, engine, job, OPTIONS, force=False)
    assert unfinished(bundle, engine, job, OPTIONS, force=True) == job
    render(bundle, engine, job, OPTIONS)
    assert unfinished(bundle, engine, job, OPTIONS, force=False) == []


def test_no_sidecar_stands_beside_another_clip(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    """It goes before the other clip is there, and comes back when that cannot be put in place."""
    (spec,) = specs(tmp_path, range(1))
    render(bundle, engine, [spec], OPTIONS)
    before = Sidecar.read(sidecar_path(spec.file))
    render(bundle, engine, specs(tmp_path / "other", range(1, 2)), OPTIONS)
    other = Sidecar.read(tmp_path / "other" / "1.json")

    def put_in_place() -> None:
        with sidecar_beside(spec.file) as describe:
            describe(other)
            assert not sidecar_path(spec.file).exists()
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        put_in_place()
    assert Sidecar.read(sidecar_path(spec.file)) == before


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_shards_add_up_to_the_whole_job(bundle: Bundle, tmp_path: Path, precision: str) -> None:
    engine = Engine(bundle, OnnxCpu(), precision)  # type: ignore[arg-type]
    together, apart = tmp_path / "together", tmp_path / "apart"
    clips = 7
    render(bundle, engine, specs(together, range(clips)), OPTIONS)
    for shard in ("1/3", "2/3", "3/3"):
        numbers = clip_numbers(clips, None, shard)
        job = [spec for spec in specs(apart, range(clips)) if spec.clip in numbers]
        render(bundle, engine, job, OPTIONS)
    wavs = {name: content for name, content in contents(together).items() if name.endswith(".wav")}
    assert wavs == {name: content for name, content in contents(apart).items() if name.endswith(".wav")}


def test_a_length_between_two_samples_is_the_same_length_again(
    bundle: Bundle, engine: Engine, tmp_path: Path
) -> None:
    job, options = specs(tmp_path, range(1)), replace(OPTIONS, seconds=0.03333333)
    render(bundle, engine, job, options)
    assert unfinished(bundle, engine, job, options, force=False) == []


def test_a_forced_job_that_is_stopped_leaves_the_longer_clip(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    job, options = specs(tmp_path, range(1)), replace(OPTIONS, seconds=0.6)
    render(bundle, engine, job, options)
    before = contents(tmp_path)
    forced = unfinished(bundle, engine, job, options, force=True)
    rendered = render(bundle, engine, forced, options, stop=itertools.count().__next__)
    assert contents(tmp_path) == before
    assert rendered.stopped and rendered.seconds < 0.6  # of what was generated, not of what is there
    render(bundle, engine, forced, options)
    assert contents(tmp_path)["0.wav"] == before["0.wav"] and contents(tmp_path)["0.json"] != before["0.json"]


def test_a_sidecar_says_how_to_make_its_clip_again(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    options = replace(OPTIONS, bits=24, floor=0.001, candidates=2, restart=False)
    render(bundle, engine, specs(tmp_path, range(2)), options, again=partial(again, "a bundle", engine, options))
    assert Sidecar.read(tmp_path / "1.json").outcome.again == (
        "slash generate 'a bundle' --out 1.wav --clip 1 --seed 9 --seconds 0.05 --temperature 1.0 "
        "--floor 0.001 --candidates 2 --no-restart --engine cpu --precision fp32 --bits 24"
    )


def test_more_than_a_wav_file_holds_is_refused(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    options = replace(OPTIONS, seconds=80_000.0, bits=32)
    with pytest.raises(UserError, match="less than a sample, of which there are 16000 a second"):
        render(bundle, engine, specs(tmp_path / "new", range(1)), replace(OPTIONS, seconds=0.0))
    with pytest.raises(UserError, match=r"a \.wav file holds 67108 of them here"):
        render(bundle, engine, specs(tmp_path / "new", range(1)), options)
    assert not (tmp_path / "new").exists()


def test_a_clip_that_cannot_be_written_takes_nothing_with_it(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    job = specs(tmp_path, range(3))
    job[2] = replace(job[2], file=Path("/proc/2.wav"))
    with pytest.raises((UserError, OSError)):
        render(bundle, engine, job, OPTIONS)
    assert contents(tmp_path) == {}


def test_candidates_that_were_cut_short_come_last(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    job, asked = specs(tmp_path, range(OnnxCpu.clips_together + 4)), itertools.count()
    chosen = best_of(
        bundle, engine, job, replace(OPTIONS, seconds=0.6), OnnxCpu.clips_together, stop=lambda: next(asked) == 5
    )
    assert chosen.rendered.stopped and len(chosen.ranking) == OnnxCpu.clips_together + 4
    assert [sidecar.outcome.complete for sidecar in chosen.ranking] == [True] * OnnxCpu.clips_together + [False] * 4


@pytest.mark.parametrize("best", [False, True])
def test_hearing_a_prime_is_shown_and_is_no_generating(
    bundle: Bundle, engine: Engine, tmp_path: Path, best: bool
) -> None:
    """What listens to the progress takes its time."""
    soundfile.write(tmp_path / "riff.wav", improvise(0.5, [3]), 16_000)
    prime = read_prime(tmp_path / "riff.wav", bundle.manifest)
    progress, length = list[tuple[float, float]](), len(prime.samples) / bundle.manifest.sample_rate

    def shown(so_far: float, whole: float) -> None:
        progress.append((so_far, whole))
        time.sleep(0.2)

    job, started = specs(tmp_path / "clips", range(2), prime=prime), time.perf_counter()
    if best:
        rendered = best_of(bundle, engine, job, replace(OPTIONS, seconds=1.0), 1, heard=shown).rendered
    else:
        rendered = render(bundle, engine, job, OPTIONS, heard=shown)
    assert progress[-1] == pytest.approx((length, length))
    assert 0 < rendered.wall_seconds <= time.perf_counter() - started - 0.2 * len(progress)


def test_the_prime_is_not_measured(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-1, 1, 48_000), 16_000)
    prime = read_prime(tmp_path / "noise.wav", bundle.manifest)
    measured = []
    for include in (False, True):
        job = specs(tmp_path / str(include), range(1), prime=prime)
        options = replace(OPTIONS, seconds=0.5, include_prime=include)
        measured.append(best_of(bundle, engine, job, options, 1).ranking[0].outcome.measures)
    assert measured[0] == measured[1]


@pytest.fixture(name="without_recordings")
def _without_recordings(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same bundle, had the corpus been gone when it was exported."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    shutil.copytree(bundle.path, folder)
    content = json.loads((folder / MANIFEST).read_text()) | {"recordings": None}
    (folder / MANIFEST).write_text(json.dumps(content))
    return Bundle(folder)


def test_the_best_are_those_nearest_to_the_recordings(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    chosen = best_of(bundle, engine, specs(tmp_path, range(4)), replace(OPTIONS, seconds=1.5), 2)
    assert bundle.recordings is not None
    scores = []
    for sidecar in chosen.ranking:
        audio = Sampler(bundle, [sidecar.recipe.clip], seed=9, engine=engine).generate(1.5)[0]
        expected = hear(source_of("clip", to_pcm16(audio) / np.float32(32768)))
        measures, described = sidecar.outcome.measures, sidecar.outcome.heard
        assert measures is not None and described is not None
        assert described.distance == pytest.approx(bundle.recordings.reference.distance(expected.segments))
        assert (described.harmonicity, described.stuck) == pytest.approx((expected.harmonicity, expected.stuck))
        assert measures.score == pytest.approx((1 - measures.silent) * bundle.recordings.nearness(expected))
        scores.append(measures.score)
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]


def test_the_best_of_many_are_kept(without_recordings: Bundle, tmp_path: Path) -> None:
    """Some candidates are frozen to a held tone or to near silence: they come last. What is wrong is named."""
    bundle, engine = without_recordings, Engine(without_recordings, OnnxCpu())
    temperatures = [0.01, 1.0, 0.01, 1.0]
    job = [
        replace(spec, temperature=TemperatureSchedule.constant(temperature))
        for spec, temperature in zip(specs(tmp_path, range(4)), temperatures, strict=True)
    ]
    chosen = best_of(bundle, engine, job, replace(OPTIONS, seconds=1.5), 2)
    measures = [sidecar.outcome.measures for sidecar in chosen.ranking]
    scores = [one.score for one in measures if one]
    assert scores == sorted(scores, reverse=True) and len(scores) == 4
    assert {sidecar.recipe.clip for sidecar in chosen.ranking[:2]} == {1, 3}
    for sidecar, one in zip(chosen.ranking, measures, strict=True):
        clip = sidecar.recipe.clip
        audio = Sampler(bundle, [clip], seed=9, temperature=temperatures[clip], engine=engine).generate(1.5)[0]
        assert one is not None and one.faults == measure(to_pcm16(audio) / np.float32(32768), 16_000).faults
    assert {path.name for path in tmp_path.iterdir()} == {"1.wav", "1.json", "3.wav", "3.json"}
    assert Sidecar.read(chosen.kept[0].with_suffix(".json")) == chosen.ranking[0]
    with pytest.raises(UserError, match=r"/proc/1\.wav: cannot be written"):
        best_of(bundle, engine, [replace(job[1], file=Path("/proc/1.wav"))], replace(OPTIONS, seconds=1.5), 1)
    render(bundle, engine, specs(tmp_path / "again", range(1, 2)), replace(OPTIONS, seconds=1.5))
    assert np.array_equal(heard(tmp_path / "1.wav"), heard(tmp_path / "again" / "1.wav"))


def test_the_runtime_and_the_open_files_say_how_many_clips_go_side_by_side(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU does, which keeps busy with far more clips than a CPU."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(OnnxCpu, "clips_together", 1024)
    engine, options = Engine(bundle, OnnxCpu()), RenderOptions(seconds=0.002, seed=1)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert render(bundle, engine, specs(tmp_path, range(100)), options).together == 64
        raise_open_files()
        assert render(bundle, engine, specs(tmp_path / "more", range(100)), options).together == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
