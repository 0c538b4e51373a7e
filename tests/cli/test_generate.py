"""`slash generate` and what goes with it, in processes of their own: streams, signals, shards, choosing by ear."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from slash_process import SLASH, slash, start, wait_for

from slash_infer.bundle import Bundle
from slash_infer.clips.sidecar import Sidecar
from slash_train.guitar import improvise
from slash_train.run import Run


def test_a_stream_is_the_clip(bundle: Bundle, tmp_path: Path) -> None:
    clip = [bundle.path, "--seconds", "0.4", "--seed", "4", "--engine", "cpu", "--precision", "fp32"]
    assert slash("generate", *clip, "--out", tmp_path / "clip.wav").returncode == 0
    expected, _ = soundfile.read(tmp_path / "clip.wav", dtype="<i2")
    command = [*SLASH, "generate", *map(str, clip), "--out", "-"]
    wav = subprocess.run(command, capture_output=True, check=True)
    (tmp_path / "stream.wav").write_bytes(wav.stdout)
    assert np.array_equal(soundfile.read(tmp_path / "stream.wav", dtype="int16")[0], expected)
    assert b"0.4 s, seed 4, clip 0" in wav.stderr
    raw = subprocess.run([*command, "--format", "raw"], capture_output=True, check=True)
    assert raw.stdout == expected.tobytes()


def test_a_reader_that_leaves_ends_the_stream(bundle: Bundle) -> None:
    process = start(
        "generate", bundle.path, "--seconds", "inf", "--out", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(44 + 16_000)[:4] == b"RIFF"
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    said = process.stderr.read()
    process.stderr.close()
    assert b"the reader has closed the pipe" in said and b"Error" not in said


def test_a_stream_that_nothing_can_take_is_refused(bundle: Bundle) -> None:
    options = ["--seconds", "1", "--out", "-", "--engine", "cpu", "--precision", "fp32"]
    with Path("/dev/full").open("wb") as full:
        process = start("generate", bundle.path, *options, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said == b"slash: --out -: cannot be written (No space left on device); is the disk full?\n"


def test_ctrl_c_ends_an_endless_stream(bundle: Bundle) -> None:
    process = start(
        "generate", bundle.path, "--seconds", "inf", "--out", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(16_000)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"slash: stopped after" in said
    assert len(rest) % 2 == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_generation_leaves_shorter_files_and_goes_on(bundle: Bundle, tmp_path: Path, number: int) -> None:
    out = tmp_path / "clips"
    job = ["generate", bundle.path, "--out", out, "-n", "2", "--seed", "3", "--engine", "cpu", "--precision", "fp32"]
    process = start(*job, "--seconds", "3600", stderr=subprocess.PIPE, text=True)
    wait_for(out, ".clip-0001.wav.*")
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "slash: stopped; 2 clips cut short at" in said and "and valid" in said
    short, _ = soundfile.read(out / "clip-0001.wav", dtype="int16")
    outcome = Sidecar.read(out / "clip-0001.json").outcome
    assert not outcome.complete and 0 < outcome.seconds == len(short) / 16_000 < 3600
    assert {path.name for path in out.iterdir()} == {
        f"clip-000{i}.{kind}" for i in range(2) for kind in ("wav", "json")
    }
    again = outcome.seconds + 0.5
    assert slash(*job, "--seconds", again).returncode == 0
    whole, _ = soundfile.read(out / "clip-0001.wav", dtype="int16")
    assert np.array_equal(whole[: len(short)], short) and len(whole) == round(16_000 * again)
    done = slash(*job, "--seconds", again)
    assert done.returncode == 0 and "2 clips there already, finished" in done.stdout


def test_shards_in_processes_of_their_own_add_up(bundle: Bundle, tmp_path: Path) -> None:
    job = ["generate", bundle.path, "-n", "5", "--seconds", "0.1", "--seed", "8"]
    assert slash(*job, "--out", tmp_path / "whole").returncode == 0
    parts = [start(*job, "--out", tmp_path / "parts", "--shard", f"{i}/2", stderr=subprocess.PIPE) for i in (1, 2)]
    for part in parts:
        part.communicate(timeout=60)
        assert part.returncode == 0
    assert len(list((tmp_path / "parts").glob("*.wav"))) == 5
    for wav in (tmp_path / "parts").glob("*.wav"):
        assert wav.read_bytes() == (tmp_path / "whole" / wav.name).read_bytes()
    assert "5 clips there already" in slash(*job, "--out", tmp_path / "parts").stdout
    assert "this part has no clips" in slash(*job, "--out", tmp_path / "parts", "--shard", "7/9").stdout


def test_a_riff_is_continued_into_any_kind_of_file(bundle: Bundle, tmp_path: Path) -> None:
    for i in range(2):
        soundfile.write(tmp_path / f"riff-{i}.wav", improvise(0.5, [i]), 48_000)
    out, riffs = tmp_path / "out", ["--prime", tmp_path / "riff-0.wav", "--prime", tmp_path / "riff-1.wav"]
    options = [*riffs, "--prime-start", "0.1", "--prime-seconds", "0.2", "--include-prime", "--seconds", "0.5"]
    more = ["--temperature", "0.9,1.1", "--floor", "0.002", "--seed", "1"]
    more += ["--format", "flac", "--bits", "24", "--normalise", "loudness"]
    done = slash("generate", bundle.path, "--out", out, "-n", "3", *options, *more)
    assert done.returncode == 0, done.stderr
    sidecars = [Sidecar.read(out / f"clip-000{i}.json") for i in range(3)]
    primes = [Path(sidecar.prime.file).name for sidecar in sidecars if sidecar.prime]
    assert primes == ["riff-0.wav", "riff-1.wav", "riff-0.wav"]
    assert [sidecar.recipe.temperature for sidecar in sidecars] == [0.9, 1.1, 0.9]
    assert [sidecar.recipe.floor for sidecar in sidecars] == [0.002] * 3
    info = soundfile.info(out / "clip-0001.flac")
    assert (info.subtype, info.frames) == ("PCM_24", 3200 + 8000)
    command = sidecars[1].outcome.again
    assert command is not None
    words = command.replace("slash generate", "generate").replace("clip-0001.flac", "again.flac").split()
    assert slash(*words, cwd=tmp_path).returncode == 0
    expected, made = (
        soundfile.read(path, dtype="int32")[0] for path in (out / "clip-0001.flac", tmp_path / "again.flac")
    )
    assert np.array_equal(expected, made)


def test_the_best_of_some_is_kept_and_all_are_reported(bundle: Bundle, tmp_path: Path) -> None:
    out, table = tmp_path / "best.wav", tmp_path / "ranking.json"
    arguments = ["generate", bundle.path, "--out", out, "--best-of", "5", "--seconds", "1", "--seed", "2"]
    done = slash(*arguments, "--json", table)
    assert done.returncode == 0, done.stderr
    ranking = json.loads(table.read_text())["ranking"]
    scores = [line["measures"]["score"] for line in ranking]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert done.stdout.count("yes") == 1
    sidecar = Sidecar.read(out.with_suffix(".json"))
    assert sidecar.recipe.clip == ranking[0]["clip"] and sidecar.outcome.measures is not None
    assert sidecar.outcome.heard is not None and sidecar.outcome.heard.model_dump() == ranking[0]["heard"]
    assert all(0 < line["heard"]["harmonicity"] <= 1 or not line["heard"]["harmonicity"] for line in ranking)
    assert all(column in done.stdout for column in ("harmonic", "stuck", "distance"))
    again = slash(*arguments)
    assert again.returncode == 2 and "best.wav: already exists" in again.stderr


def test_checkpoints_are_auditioned_and_shown(run: Run, tmp_path: Path) -> None:
    out, page = tmp_path / "audition", tmp_path / "page"
    table = ["--json", tmp_path / "table.json"]
    done = slash("audition", run.path, "--out", out, "-n", "2", "--seconds", "1.1", "--floor", "0.003", *table)
    assert done.returncode == 0, done.stderr
    lines = json.loads((tmp_path / "table.json").read_text())["checkpoints"]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps) and len(steps) >= 2
    assert all(column in done.stdout for column in ("harmonic", "stuck", "distance"))
    for line in lines:
        assert line["distance"] > 0 and 0 <= line["stuck"] <= 1 and 0 <= line["harmonicity"] <= 1
        folder = out / f"step-{line['step']:08d}"
        clips = [Sidecar.read(folder / f"clip-000{i}.json") for i in range(2)]
        assert [clip.recipe.seed for clip in clips] == [0, 0] and all(clip.outcome.measures for clip in clips)
        assert {clip.provenance.step for clip in clips} == {line["step"]}
    first, last = (soundfile.read(out / f"step-{step:08d}" / "clip-0000.wav")[0] for step in (steps[0], steps[-1]))
    assert not np.array_equal(first, last)
    assert slash("gallery", out, "--out", page).returncode == 0
    assert len(list((page / "audio").iterdir())) == 2 * len(steps)


def test_a_bundle_is_tried_live(bundle: Bundle, tmp_path: Path) -> None:
    done = slash("bench", bundle.path, "--live", "--seconds", "1", "--json", tmp_path / "live.json")
    assert done.returncode == 0, done.stderr
    live = json.loads((tmp_path / "live.json").read_text())["live"]
    assert ("keeps up, with" in done.stdout) == live["keeps_up"]
    assert live["seconds"] == 1.0 and live["realtime"] > 0
