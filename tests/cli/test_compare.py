"""`slash compare` says how far clips are from recordings, and what they copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from clips_on_disk import write_clip
from slash_process import slash

from slash_train.corpus import Corpus
from slash_train.guitar import improvise

RATE = 16_000


def take(seed: int, seconds: float) -> np.ndarray:
    return improvise(seconds, [seed])[::3].astype(np.float64)


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings, and clips: another take, noise, and a take with a copied second and a half."""
    place = tmp_path_factory.mktemp("compare")
    for folder in ("recordings", "clips"):
        (place / folder).mkdir()
    for seed in (1, 2, 3):
        soundfile.write(place / "recordings" / f"take-{seed}.flac", take(seed, 8), RATE)
    soundfile.write(place / "clips" / "like.wav", take(9, 6), RATE)
    soundfile.write(place / "clips" / "noise.ogg", 0.1 * np.random.default_rng(0).standard_normal(96_000), RATE)
    copied = 0.05 * np.random.default_rng(1).standard_normal(96_000)
    copied[32_000:56_000] = take(2, 8)[48_000:72_000]
    soundfile.write(place / "clips" / "copied.wav", copied, RATE)
    return place


def compared(place: Path, *arguments: object) -> dict[str, Any]:
    out = place / "compared.json"
    done = slash("compare", *arguments, "--json", out, "--force", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "longest copy, s" in done.stdout and "harmonicity" in done.stdout
    content: dict[str, Any] = json.loads(out.read_text())
    assert content["made_by"] == "slash compare"
    return content | {"printed": done.stdout}


def test_clips_are_compared_beside_what_recordings_score(place: Path) -> None:
    found = compared(place, "clips", "--to", "recordings")
    assert (found["reference_count"], found["clips"]["count"], found["recordings"]["count"]) == (3, 3, 3)
    assert not found["held_out"] and "each against the others" in found["printed"]
    each = {Path(clip["name"]).name: clip for clip in found["each"]}
    assert each["noise.ogg"]["distance"] > each["copied.wav"]["distance"] > each["like.wav"]["distance"] > 0
    assert each["noise.ogg"]["harmonicity"] < 0.2 and each["like.wav"]["harmonicity"] > 0.9
    assert each["noise.ogg"]["stuck"] == 1
    copy = each["copied.wav"]["copy"]
    assert copy["recording"] == "recordings/take-2.flac" and copy["seconds"] == pytest.approx(1.5, abs=0.1)
    assert (copy["start"], copy["recording_start"]) == pytest.approx((2, 3), abs=0.07)
    assert found["clips"]["longest_copy"] == copy["seconds"] == found["clips"]["longest_passage"]
    assert each["copied.wav"]["passage"] == copy
    place_of_the_copy = f"of clips/copied.wav at {copy['start']:.2f} s, from recordings/take-2.flac at"
    assert place_of_the_copy in found["printed"]


def test_a_corpus_is_compared_by_its_splits(place: Path, corpus: Corpus) -> None:
    found = compared(place, "clips/like.wav", "--to", corpus.path)
    names = {split: sum(region.split == split for region in regions) for split, regions in _regions(corpus).items()}
    assert found["reference_count"] == names["train"] and found["held_out"]
    assert found["recordings"]["count"] == names["valid"] + names["test"]
    assert "held-out recordings" in found["printed"]


def _regions(corpus: Corpus) -> dict[str, list[Any]]:
    return {split: corpus.regions(split) for split in ("train", "valid", "test")}


def test_recordings_compared_with_themselves_have_no_distance_and_are_copies(place: Path) -> None:
    found = compared(place, "recordings", "--to", "recordings")
    assert found["clips"]["distance"] == pytest.approx(0, abs=1e-6)
    assert min(clip["copy"]["seconds"] for clip in found["each"]) > 3
    for name in ("harmonicity", "stuck", "onsets", "centroid", "level_db"):
        assert found["clips"][name] == pytest.approx(found["recordings"][name])


def test_a_gallery_is_read_and_each_file_counts_once(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    shutil.copytree(place / "clips", page / "audio")
    (page / "gallery.json").write_text('{"made_by": "slash gallery"}')
    found = compared(place, page, page / "audio" / "like.wav", "--to", "recordings")
    assert found["clips"]["count"] == 3


def test_the_prime_that_a_file_begins_with_is_left_out(place: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "primed.wav", seconds=6.0, include_prime=True)
    tone, _ = soundfile.read(clip)
    soundfile.write(clip, np.concatenate([take(1, 4), tone]), RATE)
    (primed,) = compared(place, clip, "--to", "recordings")["each"]
    assert primed["seconds"] <= 6.0 and primed["stuck"] == 1
    assert primed["copy"] is None or primed["copy"]["seconds"] < 1


def test_other_rates_and_channels_are_heard_alike(place: Path, tmp_path: Path) -> None:
    full = improvise(6.0, [9])
    soundfile.write(tmp_path / "stereo.wav", np.stack([full, full], axis=1), 48_000)
    soundfile.write(tmp_path / "mono.wav", take(9, 6), RATE)
    found = compared(place, tmp_path, "--to", "recordings")
    mono, stereo = found["each"]
    for name in ("harmonicity", "stuck"):
        assert mono[name] == pytest.approx(stereo[name], abs=0.02)
