"""Standard output and error that cannot be written: messages are dropped, work is done."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from slash_process import SLASH, slash_preloaded

from slash_infer.bundle import Bundle
from slash_train.corpus import Corpus
from slash_train.run import Run

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"


@pytest.mark.parametrize("how", ["full", "closed", "deaf"])
def test_work_is_done_where_nothing_can_be_printed(
    recordings: Path, corpus: Corpus, run: Run, tmp_path: Path, how: str
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    slash = partial(slash_preloaded, cwd=tmp_path, log=log, broken={1: how, 2: how})
    assert slash("prepare", recordings, "--out", "corpus").returncode == 0
    assert Corpus(tmp_path / "corpus").fingerprint() == corpus.fingerprint()
    assert (tmp_path / "corpus" / "samples.npy").read_bytes() == (corpus.path / "samples.npy").read_bytes()
    train = ["--preset", "tiny", "--steps", "4", "--set", "training.checkpoint_every=2"]
    assert slash("train", "corpus", "--out", "run", *train).returncode == 0
    assert Run(tmp_path / "run").checkpoints.find("last").trainer_state().step == 4
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 2
    assert slash("generate", EXAMPLE, "--out", "clip.wav", "--seconds", "0.1").returncode == 0
    assert (tmp_path / "clip.wav").is_file() and (tmp_path / "clip.json").is_file()
    assert slash("train", "corpus", "--out", "run", *train).returncode == 2  # it exists, and nobody can be told
    if how == "full":
        assert slash("export", run.path, "--out", "bundle").returncode == 0
        assert Bundle(tmp_path / "bundle")


def test_what_a_command_finds_out_is_not_lost_in_silence(bundle: Bundle, corpus: Corpus, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for how, says in (("full", "No space left on device"), ("closed", "Bad file descriptor")):
        done = slash_preloaded("info", bundle.path, cwd=tmp_path, log=log, broken={1: how})
        assert done.returncode == 2
        assert done.stderr.startswith(f"slash: standard output: cannot be written ({says})")
        assert len(done.stderr.splitlines()) == 1
    done = slash_preloaded("info", bundle.path, cwd=tmp_path, log=log, broken={1: "deaf"})
    assert (done.returncode, done.stderr) == (0, "")  # `| head` has seen enough
    score = ["evaluate", bundle.path, corpus.path, "--split", "valid", "--json", "scores.json"]
    assert slash_preloaded(*score, cwd=tmp_path, log=log, broken={1: "full"}).returncode == 2
    assert json.loads((tmp_path / "scores.json").read_text())["bits_per_sample"] > 0


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help_that_cannot_be_printed_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run([*SLASH, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "standard output: cannot be written (No space left on device)" in done.stderr


def test_no_file_takes_the_place_of_a_closed_descriptor(tmp_path: Path) -> None:
    """Python itself starts without stderr, and descriptor 2 is free for the first file that is opened."""
    bundle = shutil.copytree(EXAMPLE, tmp_path / "bundle")
    command = [*SLASH, "generate", str(bundle), "--seconds", "0.1", "--seed", "1", "--out"]
    for name, descriptors in (("all.wav", ()), ("none.wav", (0, 1, 2)), ("error.wav", (2,))):

        def close(descriptors: tuple[int, ...] = descriptors) -> None:
            for descriptor in descriptors:
                os.close(descriptor)

        done = subprocess.run([*command, str(tmp_path / name)], preexec_fn=close, check=False)
        assert done.returncode == 0
    whole = (tmp_path / "all.wav").read_bytes()
    assert (tmp_path / "none.wav").read_bytes() == (tmp_path / "error.wav").read_bytes() == whole
