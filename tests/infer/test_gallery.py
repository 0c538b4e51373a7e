"""The gallery on disk: which clips it finds, in which order, and that hostile names and texts stay text."""

import json
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile
from clips_on_disk import write_clip

from slash_infer.audio.measures import Measures
from slash_infer.audio.spectrogram import draw_link
from slash_infer.clips.sidecar import ClipHeard, PrimeSource
from slash_infer.errors import UserError
from slash_infer.gallery.find import Recording, Section, count_recordings, find_sections
from slash_infer.gallery.page import make_gallery

HOSTILE = "\"'><script>document.title='taken'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;"


class _Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _make(folders: Sequence[Path], out: Path, title: str = "Clips") -> _Page:
    make_gallery(find_sections(folders), out, title, advance=lambda: None)
    return _Page(out / "index.html")


def _slash(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "slash_cli", "gallery", *arguments]
    return subprocess.run(program, cwd=place, capture_output=True, text=True, check=False)


def _layout(sections: Sequence[Section]) -> list[tuple[str, list[tuple[str | None, list[str]]]]]:
    return [(s.name, [(row.name, [clip.name for clip in row.clips]) for row in s.rows]) for s in sections]


def _measures(score: float) -> Measures:
    return Measures(
        level_db=-20, silent=0.5, flatness=0.1, movement_db=3, faults=("silence", "held tone"), score=score
    )


def test_a_folder_of_clips_in_every_format(tmp_path: Path) -> None:
    files = [
        write_clip(tmp_path / "clips" / f"{name}", clip=i) for i, name in enumerate(("b.wav", "a.FLAC", "c.ogg"))
    ]
    page = _make([tmp_path / "clips"], tmp_path / "page")
    audio = [attributes["src"] for attributes in page.all("audio") if "src" in attributes]
    assert audio == ["audio/0001.wav", "audio/0002.flac", "audio/0003.ogg"]
    for file, copy in zip(files, audio, strict=True):
        assert copy is not None
        assert (tmp_path / "page" / copy).read_bytes() == file.read_bytes()
    for image in page.all("img"):
        if "src" in image:
            assert (tmp_path / "page" / str(image["src"])).read_bytes()[8:12] == b"WEBP"
    assert [a["id"] for a in page.all("article")] == ["clip-1", "clip-2", "clip-3"]
    assert json.loads((tmp_path / "page" / "gallery.json").read_text())["made_by"] == "slash gallery"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "page"]


def test_all_that_is_known_of_a_clip_is_said(tmp_path: Path) -> None:
    measures = _measures(0.42)
    prime = PrimeSource(file="solo.wav", start=12.5, seconds=3, sha256="0" * 64)
    write_clip(
        tmp_path / "clips" / "one.wav",
        clip=7,
        temperature="0:1,4:0.8",
        floor=0.00125,
        candidates=4,
        complete=False,
        prime=prime,
        include_prime=True,
        normalise="peak",
        bits_per_sample=1.5,
        measures=measures,
        heard=ClipHeard(harmonicity=0.931, stuck=0.25, onsets=3.2, centroid=2500, distance=85.04),
    )
    write_clip(tmp_path / "clips" / "two.wav", clip=8, clips_together=1, again=None)
    page = _make([tmp_path / "clips"], tmp_path / "page")
    for text in (
        "0:1,4:0.8",
        "0.00125",
        "Candidates",
        "tiny, step 1,000",
        "1.250 bits/sample",
        "1.500 bits/sample",
        "0.42 of 1",
        "0.93 of 1",
        "25% of the time",
        "85.04 from the recordings",
        "stopped early, silence, held tone",
        "1.50 x realtime, 6.00 x for 4 together",
        "6.00 x realtime",
        "cpu, int8",
        "normalised to peak",
        "3 s of solo.wav from 12.5 s, the file begins with it",
        "slash generate bundle --out again.wav --seed 3 --clip 7",
    ):
        assert text in page.text, text
    assert len(page.all("code")) == 1


def test_a_training_is_heard_clip_by_clip_over_its_steps(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    for step in (2000, 10_000, 900):
        for clip in (0, 1):
            write_clip(run / "previews" / f"step-{step:08d}" / f"clip-{clip}.wav", clip=clip, step=step)
    write_clip(run / "elsewhere" / "clip.wav")
    for step in (100, 200):
        write_clip(tmp_path / "audition" / f"step-{step:08d}" / "clip-0000.wav", step=step)
    audition, training = _layout(find_sections([tmp_path / "audition", run]))
    steps = [f"previews/step-{step:08d}" for step in (900, 2000, 10_000)]
    assert training == (
        "run",
        [(f"Clip {clip}", [f"{folder}/clip-{clip}.wav" for folder in steps]) for clip in (0, 1)],
    )
    assert audition == (
        "audition",
        [("Clip 0", ["step-00000100/clip-0000.wav", "step-00000200/clip-0000.wav"])],
    )


def test_seeds_are_told_apart(tmp_path: Path) -> None:
    for seed in (5, 4):
        for step in (2, 1):
            write_clip(tmp_path / f"{seed}-{step}.wav", seed=seed, step=step)
    [(_, rows)] = _layout(find_sections([tmp_path]))
    assert rows == [("Seed 4, clip 0", ["4-1.wav", "4-2.wav"]), ("Seed 5, clip 0", ["5-1.wav", "5-2.wav"])]


def test_single_files_are_one_section_in_the_order_given(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "more" / "a.wav").parent
    second, first = (write_clip(tmp_path / name) for name in ("b.flac", "z.WAV"))  # both clip 0
    assert _layout(find_sections([first, folder, second])) == [
        ("files", [(None, ["z.WAV", "b.flac"])]),
        ("more", [(None, ["a.wav"])]),
    ]
    page = _make([first, second], tmp_path / "page")
    assert [article["data-title"] for article in page.all("article")] == ["files, z.WAV", "files, b.flac"]
    alike = write_clip(tmp_path / "files" / "z.WAV")
    assert _layout(find_sections([first, alike, folder]))[0][1] == [(None, [f"{tmp_path.name}/z.WAV", "files/z.WAV"])]
    assert [section.name for section in find_sections([first, alike.parent])] == ["files", f"{tmp_path.name}/files"]
    with pytest.raises(UserError, match=r"z\.WAV: is inside .*files, which was given, too"):
        find_sections([alike, alike.parent])
    second.with_suffix(".json").unlink()
    for odd, says in (
        (second, "b.flac: is not a clip of slash generate, with its sidecar"),
        (first.with_suffix(".json"), "z.json: is not a clip"),
        (tmp_path / "nowhere.wav", "nowhere.wav: does not exist"),
        (first, "z.WAV: was given twice"),
    ):
        with pytest.raises(UserError, match=says):
            find_sections([first, odd])


def test_ranked_clips_come_in_the_order_of_their_scores(tmp_path: Path) -> None:
    """What best-of has kept. Where one clip has no score, numbers decide."""
    for clip, score in enumerate((0.2, 0.9, 0.5)):
        write_clip(tmp_path / "best" / f"{clip}.wav", clip=clip, measures=_measures(score))
    assert _layout(find_sections([tmp_path / "best"])) == [("best", [(None, ["1.wav", "2.wav", "0.wav"])])]
    write_clip(tmp_path / "best" / "3.wav", clip=3)
    ((_, [(_, names)]),) = _layout(find_sections([tmp_path / "best"]))
    assert names == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_a_recording_comes_before_the_clips_of_its_run(tmp_path: Path) -> None:
    """And is no clip: it has no seed, and no command that makes it."""
    run, samples = tmp_path / "run", np.arange(-8000, 8000, dtype=np.int16)
    (run / "previews").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    write_clip(run / "previews" / "one.wav")
    write_clip(tmp_path / "clips" / "other.wav", clip=1)
    sections = find_sections([tmp_path / "clips", run], lambda folder: Recording(folder.name, samples, 16_000))
    assert [section.recording is not None for section in sections] == [False, True]
    assert count_recordings(sections) == 1
    drawn: list[None] = []
    make_gallery(sections, tmp_path / "page", "Clips", lambda: drawn.append(None))
    assert len(drawn) == 3
    page = _Page(tmp_path / "page" / "index.html")
    titles = [article["data-title"] for article in page.all("article")]
    assert titles == ["clips, clip 1", "run, a recording", "run, clip 0"]
    assert [article.get("data-recorded") for article in page.all("article")] == [None, "yes", None]
    kept, rate = soundfile.read(tmp_path / "page" / "audio" / "0002.wav", dtype="int16")
    assert rate == 16_000 and np.array_equal(kept, samples)
    assert len(page.all("code")) == 2 and any("All but the recordings" in text for text in page.text)
    without = _make([run], tmp_path / "without")
    assert len(without.all("article")) == 1 and any("Every sample" in text for text in without.text)


def test_a_link_to_it_is_shown_with_a_picture(tmp_path: Path) -> None:
    """Networks take addresses that are whole."""
    write_clip(tmp_path / "clips" / "one.wav")
    sections = find_sections([tmp_path / "clips"])
    for title, url, image in (
        (HOSTILE, None, "link.png"),
        ("$x", "https://example.org/a/", "https://example.org/a/link.png"),
    ):
        make_gallery(sections, tmp_path / "page", title, lambda: None, url=url, force=True)
        said = {
            one.get("property"): one["content"]
            for one in _Page(tmp_path / "page" / "index.html").all("meta")
            if "property" in one
        }
        assert (said["og:title"], said["og:image"], said.get("og:url")) == (title, image, url)
        assert matplotlib.image.imread(tmp_path / "page" / "link.png").shape[:2] == (630, 1200)
    for odd in ("example.org", "https://", "https://example.org/?x=1", "ftp://example.org", "https://["):
        done = _slash(tmp_path, "clips", "--out", "other", "--url", odd)
        assert done.returncode == 2 and "is no folder on the web" in done.stderr, done.stderr


@pytest.mark.parametrize("title", ["x" * 500, "M" * 30, "\u65e5\u672c", "a\tb\x1b[31m\x00", "\udcff", "$x^{$", " "])
def test_any_title_fits_on_the_picture(tmp_path: Path, title: str) -> None:
    """Without a warning, which would be an error here."""
    write_clip(tmp_path / "one.wav")
    draw_link(tmp_path / "one.wav", tmp_path / "link.png", title)
    picture = matplotlib.image.imread(tmp_path / "link.png")[:120, :, :3]
    assert picture.shape[:2] == (120, 1200)
    dark = picture[0, 0]
    assert (picture[:, -40:] == dark).all()  # nothing runs off the edge


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "clips", tmp_path / "b" / "clips"]
    for folder in folders:
        write_clip(folder / "clip.wav")
    assert [section.name for section in find_sections(folders)] == ["a/clips", "b/clips"]
    with pytest.raises(UserError, match="was given twice"):
        find_sections([folders[0], tmp_path / "b" / ".." / "a" / "clips"])


def test_what_is_no_clip_is_left_out_and_counted(tmp_path: Path) -> None:
    clips, outside = tmp_path / "clips", write_clip(tmp_path / "outside" / "secret.wav")
    write_clip(clips / "clip.wav")
    soundfile.write(clips / "alone.wav", [0.0] * 100, 16_000)
    soundfile.write(clips / "song.wav", [0.0] * 100, 16_000)
    (clips / "song.json").write_text('{"made_by": "another program"}')
    for suffix in (".wav", ".json"):
        (clips / "link").with_suffix(suffix).symlink_to(outside.with_suffix(suffix))
    (clips / "linked").symlink_to(outside.parent)
    write_clip(clips / ".half-made.part" / "clip.wav")
    done = _slash(tmp_path, "clips", "--out", "clips/page", "--title", HOSTILE)
    assert (done.returncode, done.stdout) == (0, "1 clip: open clips/page/index.html in a browser\n")
    assert done.stderr == "left out 3 audio files that have no sidecar of slash generate\n"
    [section] = find_sections([clips])
    assert _layout([section]) == [("clips", [(None, ["clip.wav"])])]
    assert section.left_out == 3  # those of the gallery, which now lies among them, are not counted


def test_a_linked_folder_of_previews_is_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path / "outside" / "clip.wav")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "previews").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="run: holds no clips of slash generate; give"):
        find_sections([tmp_path / "run"])


def test_names_and_texts_are_only_ever_text(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "\u2215")
    prime = PrimeSource(file=HOSTILE, start=0, seconds=1, sha256=HOSTILE)
    texts: dict[str, Any] = dict.fromkeys(("temperature", "engine", "precision", "again", "preset"), HOSTILE)
    for name in (f"{folder.name}.wav", "\udcff.wav"):  # the second is no UTF-8
        write_clip(folder / name, prime=prime, **texts)
    write_clip(tmp_path / "clean" / "clip.wav")
    clean = _make([tmp_path / "clean"], tmp_path / "clean-page")
    page = _make([folder], tmp_path / "page", HOSTILE)
    assert len(page.all("script")) == len(page.all("style")) == len(page.all("title")) == 1
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in clean.elements}
    known = {name for _, attributes in clean.elements for name in attributes}
    assert {name for _, attributes in page.elements for name in attributes} <= known
    assert page.text.count(HOSTILE) >= 4  # title and heading of the page; again, of each clip
    assert {path.name for path in (tmp_path / "page").rglob("*.wav")} == {"0001.wav", "0002.wav"}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("{", "clip.json: cannot be read as a clip's sidecar"),
        ('{"made_by": "slash generate"}', "clip.json: was written by another version of Slash"),
        (
            '{"made_by": "slash generate", "schema_version": 6}',
            "clip.json: is not the sidecar of a clip (sample_rate: Field required)",
        ),
        (None, "clip.wav: is not readable audio"),
        (0, "clip.wav: holds no audio"),
    ],
)
def test_damage_is_named_and_nothing_is_made(tmp_path: Path, damage: str | int | None, says: str) -> None:
    write_clip(tmp_path / "clips" / "a.wav")
    file = write_clip(tmp_path / "clips" / "clip.wav", clip=1)
    if damage is None:
        file.write_text("this is not audio")
    elif damage == 0:
        soundfile.write(file, [], 16_000)
    else:
        file.with_suffix(".json").write_text(str(damage))
    with pytest.raises(UserError) as refusal:
        _make([tmp_path / "clips"], tmp_path / "new" / "page")
    assert says in str(refusal.value) and " again or move " in str(refusal.value)
    assert str(tmp_path / "new") not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_force_replaces_a_gallery_and_nothing_else(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "clip.wav")
    assert _slash(tmp_path, "clips", "--out", "page").returncode == 0
    (tmp_path / "page" / "old").touch()
    assert "page: already exists" in _slash(tmp_path, "clips", "--out", "page").stderr
    assert _slash(tmp_path, "clips", "--out", "page", "--force").returncode == 0
    assert not (tmp_path / "page" / "old").exists()
    refused = _slash(tmp_path, "clips", "--out", "clips", "--force")
    assert refused.returncode == 2 and "clips: was not made by slash gallery" in refused.stderr
    inside = write_clip(tmp_path / "page" / "inside" / "clip.wav").parent
    refused = _slash(tmp_path, str(inside), "--out", "page", "--force")
    assert refused.returncode == 2 and f"page: holds {inside}" in refused.stderr
