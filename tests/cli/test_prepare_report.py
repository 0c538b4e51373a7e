"""`slash prepare` says what became of every file."""

from pathlib import Path

import numpy as np
import soundfile
from slash_process import slash_preloaded

TONE = (10_000 * np.sin(2 * np.pi * 440 * np.arange(4 * 44_100) / 44_100)).astype(np.int16)


def _album(album: Path) -> None:
    """Make a folder as musicians have them."""
    (album / "scans").mkdir(parents=True)
    soundfile.write(album / "one.wav", TONE, 44_100)
    soundfile.write(album / "two.aiff", TONE // 50, 44_100)
    soundfile.write(album / "one again.flac", TONE, 44_100)
    with soundfile.SoundFile(album / "three.mp3", "w", 44_100, 1) as file:
        file.write(TONE)
    whole = (album / "three.mp3").read_bytes()
    (album / "three.mp3").write_bytes(whole[: len(whole) // 2] + bytes(4000) + whole[len(whole) // 2 :])
    soundfile.write(album / "four.wav", TONE, 44_100)
    whole = (album / "four.wav").read_bytes()
    (album / "four.wav").write_bytes(whole[: len(whole) // 2])
    for i in range(12):
        (album / "scans" / f"{i}.jpg").write_bytes(b"\xff\xd8\xff")
    (album / "notes.txt").write_text("recorded in May")
    (album / "._one.wav").write_bytes(b"\0\5\26\7")
    (album / "gone.wav").symlink_to("nowhere")


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    _album(tmp_path / "album")
    refused = slash_preloaded("prepare", "album", "--out", "corpus", cwd=tmp_path, log=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == (
        "slash: album/gone.wav: no such file; check the path, or pass --skip-bad to go on without it\n"
    )
    done = slash_preloaded("prepare", "album", "--out", "corpus", "--skip-bad", cwd=tmp_path, log=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")  # libmpg123 has something to say about three.mp3
    said = " ".join(done.stdout.split())
    for row in (
        "one.wav 4.0 s",
        "one again.flac 4.0 s",
        "the same audio as",
        "two.aiff 4.0 s",
        "three.mp3 4.0 s is damaged at",
        "four.wav 2.0 s shorter than its header says: 2.0 of 4.0 s",
        "12 .jpg files left out not audio",
        "album/notes.txt left out not audio",
        "album/._one.wav left out hidden",
        "album/gone.wav left out no such file",
        "levels differ by 34 dB: two.aiff",
    ):
        assert row in said, row
    described = slash_preloaded("info", "corpus", cwd=tmp_path, log=tmp_path).stdout
    assert "four.wav: shorter than its header says" in described
    assert "album/gone.wav: left out: no such file" in described
