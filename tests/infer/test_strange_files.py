"""Files from strangers: what is no plain file is refused at once, and no file takes more memory than its kind may."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from clips_on_disk import write_clip

from slash_infer.audio.spectrogram import draw_card, draw_spectrogram
from slash_infer.clips.sidecar import SIDECAR_LIMIT, Sidecar, sidecar_path
from slash_infer.errors import UserError
from slash_infer.files import JSON_LIMIT, open_plain_file, read_json
from slash_infer.gallery.find import find_sections
from slash_infer.gallery.page import make_gallery
from slash_infer.runtimes.plan_cache import PlanCache, PlanKey


def _socket(path: Path) -> None:
    held = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    held.bind(path.name)
    os.chdir(here)
    held.close()


STRANGE: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
}


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    """Nothing may wait for the other end of a pipe."""

    def late(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_not_a_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "strange.json"
    STRANGE[kind](path)
    said = r"strange\.json: cannot be read as a song \(.*\); sing another"
    with pytest.raises(UserError, match=said):
        read_json(path, "a song", "sing another")
    if kind != "a terminal":  # there may be none
        with pytest.raises(UserError, match="not a plain file"):
            open_plain_file(path, "a song", "sing another", limit=1)
    with pytest.raises(UserError, match=r"cannot be read as a clip's sidecar"):
        Sidecar.read(path)
    if kind != "a terminal":
        for draw in (draw_card, lambda audio, png: draw_spectrogram(audio, png, "strange")):
            with pytest.raises(UserError, match=r"cannot be read as a clip .not a plain file.; make it again"):
                draw(path, tmp_path / "picture")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["strange.json"]


@pytest.mark.parametrize("kind", STRANGE)
def test_a_gallery_leaves_out_what_is_not_a_plain_file(tmp_path: Path, kind: str) -> None:
    whole = write_clip(tmp_path / "clips" / "whole.wav")
    for name in ("no-audio.wav", "no-sidecar.wav"):
        write_clip(whole.with_name(name))
    for path in (whole.with_name("no-audio.wav"), sidecar_path(whole.with_name("no-sidecar.wav"))):
        path.unlink()
        STRANGE[kind](path)
    (section,) = find_sections([tmp_path / "clips"])
    assert [clip.name for row in section.rows for clip in row.clips] == ["whole.wav"]


def test_a_plan_that_is_a_pipe_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache, key = PlanCache(), PlanKey("0" * 64, "tensorrt", "11", "gpu", "9.0", "13", 1, (1, 8, 1024))
    cache.keep(key, b"plan")
    assert cache.find(key) == b"plan"
    for path in (cache.path_of(key), cache.path_of(key).with_suffix(".json")):
        path.unlink()
        os.mkfifo(path)
        assert cache.find(key) is None
        path.unlink()
        cache.keep(key, b"plan")


def test_every_kind_of_file_has_a_limit(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.json"
    for size, read in (
        (JSON_LIMIT + 1, lambda: read_json(sparse, "a song", "sing another")),
        (SIDECAR_LIMIT + 1, lambda: Sidecar.read(sparse)),
        ((1 << 32) + 1, lambda: draw_card(sparse, tmp_path / "picture")),
    ):
        sparse.touch()
        os.truncate(sparse, size)
        with pytest.raises(UserError, match=f"{size:,} bytes, and {size - 1:,} are the most"):
            read()


def _wav(path: Path, rate: int, channels: int = 1, data: int = 200, size: int | None = None) -> Path:
    """Write a WAV file whose header says anything, and a sidecar."""
    write_clip(path)
    size = data if size is None else size
    header = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", size)
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + chunks + bytes(data))
    return path


@pytest.mark.parametrize("rate", [1, 10, 150, 999, 768_001, 2**31 - 1])
def test_a_clip_with_a_rate_that_no_clip_has_is_refused(tmp_path: Path, rate: int) -> None:
    clip = _wav(tmp_path / "clips" / "0.wav", rate)
    with pytest.raises(UserError, match=rf"0\.wav: has a sample rate of {rate} Hz, not 1000 to 768000; make it"):
        make_gallery(find_sections([clip.parent]), tmp_path / "page", "Clips", lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize(
    "wav",
    [
        {"rate": 1000},
        {"rate": 768_000},
        {"rate": 16_000, "channels": 90, "data": 180 * 7},
        {"rate": 16_000, "data": 2},
        {"rate": 16_000, "data": 200_000, "size": 2**31},
    ],
)
def test_a_strange_clip_is_drawn(tmp_path: Path, wav: dict[str, int]) -> None:
    for draw in (draw_card, lambda audio, png: draw_spectrogram(audio, png, "strange")):
        draw(_wav(tmp_path / "0.wav", **wav), tmp_path / "picture")
        assert (tmp_path / "picture").stat().st_size > 1000


def test_numbers_that_are_none_are_drawn_as_silence(tmp_path: Path) -> None:
    samples = np.sin(np.arange(16_000))
    samples[3000:5000], samples[7000] = np.nan, np.inf
    soundfile.write(tmp_path / "0.wav", samples, 16_000, subtype="FLOAT")
    draw_card(tmp_path / "0.wav", tmp_path / "picture")


def test_a_flac_file_is_not_believed(tmp_path: Path) -> None:
    """Its header says that it has 2^36 samples, for which nobody has the memory."""
    path = tmp_path / "0.flac"
    soundfile.write(path, np.sin(np.arange(16_000)), 16_000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"0\.flac: is not readable audio"):
        draw_card(path, tmp_path / "picture")


MEASURE = """
import resource, sys
from pathlib import Path
from slash_infer.audio.spectrogram import draw_card
from slash_infer.errors import UserError
from slash_infer.gallery.find import find_sections
from slash_infer.gallery.page import make_gallery
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    make_gallery(find_sections([Path(sys.argv[1])]), Path(sys.argv[2]), "Clips", lambda: None)
except UserError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def _measured(clips: Path, page: Path) -> tuple[list[str], int]:
    """Make a gallery in a process of its own; return what it said, and the megabytes that it took."""
    program = [sys.executable, "-c", MEASURE, str(clips), str(page)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    *said, megabytes = done.stdout.splitlines()
    return said, int(megabytes)


def test_a_long_clip_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    _wav(tmp_path / "short" / "0.wav", 16_000, data=320_000)
    _wav(tmp_path / "long" / "0.wav", 16_000, data=32_000_000)
    short, long = (_measured(tmp_path / name, tmp_path / f"{name}-page")[1] for name in ("short", "long"))
    assert long < short + 50


@pytest.mark.slow
def test_two_sparse_gigabytes_take_little_memory(tmp_path: Path) -> None:
    signal.alarm(0)
    clip = _wav(tmp_path / "clips" / "0.wav", 48_000, size=2**31 - 100)
    os.truncate(clip, 2**31 - 56)
    said, megabytes = _measured(clip.parent, tmp_path / "page")
    assert said == [] and megabytes < 250
    shutil.rmtree(tmp_path / "page")


@pytest.mark.slow
def test_days_of_silence_in_a_small_file_are_refused(tmp_path: Path) -> None:
    signal.alarm(0)
    path = write_clip(tmp_path / "clips" / "0.flac")
    with soundfile.SoundFile(path, "w", 1000, 1, format="FLAC") as file:
        for _ in range(2 * 24 * 36):
            file.write(np.zeros(100_000, np.int16))
    assert path.stat().st_size < 1 << 20
    said, megabytes = _measured(path.parent, tmp_path / "page")
    assert said == [f"{path}: is longer than 24 hours; make it again or move it away"] and megabytes < 250
