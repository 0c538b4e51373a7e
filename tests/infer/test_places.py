"""Clips in places where something else appears while they are generated: nothing of it is lost."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from slash_infer.bundle import Bundle
from slash_infer.clips.best_of import best_of
from slash_infer.clips.render import render
from slash_infer.clips.resume import check_places, unfinished
from slash_infer.clips.sidecar import Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.errors import UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"
OPTIONS = RenderOptions(seconds=0.5, seed=9)
OTHER = replace(OPTIONS, seed=10)


@pytest.fixture(name="example", scope="module")
def _example() -> tuple[Bundle, Engine]:
    """A small bundle, opened."""
    bundle = Bundle(EXAMPLE)
    return bundle, Engine(bundle, OnnxCpu())


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _once(action: Callable[[], object]) -> Callable[[], bool]:
    """Do something in the middle of a job, the first time that it asks whether to stop after it has begun."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            action()
        return False

    return stop


def test_of_two_jobs_for_one_file_the_second_to_finish_is_refused(
    example: tuple[Bundle, Engine], tmp_path: Path
) -> None:
    spec, there = ClipSpec(tmp_path / "y.wav", 0), dict[str, bytes]()

    def other() -> None:
        render(*example, [spec], OTHER)
        there.update(_contents(tmp_path))

    with pytest.raises(UserError, match=r"y\.wav: already exists: it was made meanwhile; choose another `out`"):
        render(*example, [spec], OPTIONS, stop=_once(other))
    assert {name: there[name] for name in ("y.wav", "y.json")} == _contents(tmp_path)


def test_a_clip_in_another_format_keeps_its_sidecar(example: tuple[Bundle, Engine], tmp_path: Path) -> None:
    flac = ClipSpec(tmp_path / "y.flac", 0)
    with pytest.raises(UserError, match=r"would take the sidecar of .*y\.flac"):
        render(
            *example,
            [ClipSpec(tmp_path / "y.wav", 0)],
            OPTIONS,
            stop=_once(lambda: render(*example, [flac], OTHER)),
        )
    assert Sidecar.read(sidecar_path(flac.file)).recipe.seed == 10 and not (tmp_path / "y.wav").exists()


@pytest.mark.parametrize("name", ["0.wav", "0.json"])
def test_foreign_files_that_appear_stay(example: tuple[Bundle, Engine], tmp_path: Path, name: str) -> None:
    spec = ClipSpec(tmp_path / "0.wav", 0)
    with pytest.raises(UserError, match=r"already exists|was not made by slash generate"):
        render(*example, [spec], OPTIONS, stop=_once(lambda: (tmp_path / name).write_text("precious")))
    assert _contents(tmp_path) == {name: b"precious"}


def test_force_replaces_what_was_there_and_nothing_newer(example: tuple[Bundle, Engine], tmp_path: Path) -> None:
    spec = ClipSpec(tmp_path / "0.wav", 0)
    render(*example, [spec], OTHER)
    (forced,) = unfinished(*example, [spec], OPTIONS, force=True)
    render(*example, [forced], OPTIONS)
    assert Sidecar.read(sidecar_path(spec.file)).recipe.seed == 9
    (forced,) = unfinished(*example, [spec], OTHER, force=True)
    newer = replace(OPTIONS, seed=11)
    with pytest.raises(UserError, match=r"0\.wav: was changed meanwhile"):
        render(*example, [forced], OTHER, stop=_once(lambda: render(*example, [spec], newer)))
    assert Sidecar.read(sidecar_path(spec.file)).recipe.seed == 11
    assert unfinished(*example, [spec], newer, force=False) == []


def test_a_clip_that_is_removed_meanwhile_is_made_anew(example: tuple[Bundle, Engine], tmp_path: Path) -> None:
    spec = ClipSpec(tmp_path / "0.wav", 0)
    render(*example, [spec], OTHER)
    render(*example, [spec], OPTIONS, stop=_once(spec.file.unlink))
    assert unfinished(*example, [spec], OPTIONS, force=False) == []


def test_the_best_clips_do_not_replace_what_appears(example: tuple[Bundle, Engine], tmp_path: Path) -> None:
    job = [ClipSpec(tmp_path / "best" / f"{clip}.wav", clip) for clip in range(2)]
    places = check_places([spec.file for spec in job], force=False, resume=False)
    planned = [replace(spec, place=place) for spec, place in zip(job, places, strict=True)]
    render(*example, job, OTHER)
    before = _contents(tmp_path / "best")
    with pytest.raises(UserError, match="already exists: it was made meanwhile"):
        best_of(*example, planned, OPTIONS, 2)
    assert _contents(tmp_path / "best") == before


def test_jobs_at_once_in_one_folder_leave_pairs_that_fit(example: tuple[Bundle, Engine], tmp_path: Path) -> None:
    """Each clip comes from one of them, its sidecar is its own, and nothing else is left."""
    bundle, _ = example
    job = [ClipSpec(tmp_path / f"{clip}.wav", clip) for clip in range(4)]
    together = threading.Barrier(4)

    def work(seed: int) -> bool:
        engine = Engine(bundle, OnnxCpu())
        together.wait()
        try:
            for spec in job:
                render(bundle, engine, [spec], replace(OPTIONS, seed=seed))
        except UserError as error:
            assert "already exists" in str(error) or "was changed meanwhile" in str(error)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {path.suffix for path in tmp_path.iterdir()} == {".wav", ".json"}
    for spec in job:
        if spec.file.exists():
            seed = Sidecar.read(sidecar_path(spec.file)).recipe.seed
            assert soundfile.SoundFile(spec.file).title == f"clip {spec.clip}, seed {seed}"


def test_a_job_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    job = [ClipSpec(tmp_path / f"{clip}.wav", clip) for clip in range(2)]
    for name in (".1.wav.0123abcd.part", ".1.json.0123abcd.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        (tmp_path / name / "new.wav").write_text("half")
    check_places([spec.file for spec in job], force=False)
    assert list(tmp_path.iterdir()) == []
