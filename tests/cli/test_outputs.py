"""Outputs of commands: names that cannot be, places that are taken meanwhile, what killed commands leave."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from slash_process import slash_preloaded, start, wait_for

from slash_infer.clips.sidecar import Sidecar

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"
CLIP = ["generate", EXAMPLE, "--engine", "cpu", "--precision", "fp32", "--out", "y.wav"]


@pytest.mark.parametrize(
    "command",
    [
        ["generate", EXAMPLE, "--out", b"caf\xe9.wav"],
        ["generate", EXAMPLE, "-n", 2, "--out", b"caf\xe9"],
        ["gallery", ".", "--out", b"caf\xe9"],
        ["bench", EXAMPLE, "--json", b"caf\xe9.json"],
        ["demo", "--out", b"deep/caf\xe9/er"],
    ],
    ids=lambda command: str(command[0]),
)
def test_a_name_that_is_not_utf8_is_refused_at_once(tmp_path: Path, command: list[object]) -> None:
    log = tmp_path / "log"
    log.mkdir()
    words = [os.fsdecode(word) if isinstance(word, bytes) else word for word in command]
    done = slash_preloaded(*words, cwd=tmp_path, log=log)
    option = "--json" if "--json" in command else "--out"
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("slash: '") and "caf\\udce9" in done.stderr
    assert done.stderr.endswith(f"': is not a name in UTF-8; choose another {option}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_of_two_commands_for_one_file_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    first = start(*CLIP, "--seconds", 20, "--seed", 1, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=-1)
    wait_for(tmp_path, ".y.wav.*.part/new.wav")
    first.send_signal(signal.SIGSTOP)
    done = slash_preloaded(*CLIP, "--seconds", 0.5, "--seed", 2, cwd=tmp_path, log=tmp_path / "log")
    assert done.returncode == 0, done.stderr
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 2
    assert said.decode().splitlines()[-1] == (
        "slash: y.wav: already exists: it was made meanwhile; choose another --out"
    )
    assert Sidecar.read(tmp_path / "y.json").recipe.seed == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "y.json", "y.wav"]


def test_what_a_killed_command_leaves_is_swept_by_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    killed = start(*CLIP, "--seconds", 60, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(tmp_path, ".y.wav.*.part/new.wav")
    killed.kill()
    killed.wait()
    assert list(tmp_path.glob(".*"))
    done = slash_preloaded(*CLIP, "--seconds", 0.5, cwd=tmp_path, log=tmp_path / "log")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "y.json", "y.wav"]


def test_a_clip_at_ten_hertz_does_not_end_a_gallery_in_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert slash_preloaded(*CLIP, "--seconds", 0.5, cwd=tmp_path, log=tmp_path / "log").returncode == 0
    content = bytearray((tmp_path / "y.wav").read_bytes())
    content[24:28] = (10).to_bytes(4, "little")
    (tmp_path / "y.wav").write_bytes(content)
    done = slash_preloaded("gallery", ".", "--out", "page", cwd=tmp_path, log=tmp_path / "log")
    assert done.returncode == 2 and not (tmp_path / "page").exists()
    assert done.stderr == (
        "slash: y.wav: has a sample rate of 10 Hz, not 1000 to 768000; make it again or move it away\n"
    )
