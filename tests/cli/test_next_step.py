"""What a command says last leads on, from recordings to a page of clips; what can be refused at once, is."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from slash_process import slash_preloaded

from slash_infer.bundle import Bundle
from slash_train.corpus import Corpus
from slash_train.run import Run

QUICK = {"--init-from": "--preset", "box": "tiny", "2": "0.02", "8": "2", "5": "0.1"}
"""What the tests say instead of the words of a suggestion that take time: the model, minutes, clips, seconds."""


def test_each_command_names_the_next_until_there_is_a_page(recordings: Path, tmp_path: Path) -> None:
    """In a folder with a space in its name, where the usual names are taken."""
    place = tmp_path / "my takes"
    shutil.copytree(recordings, place / "recordings")
    for taken in ("run", "clips", "clips-2"):
        (place / taken).mkdir()
    command, made = ["prepare", "recordings", "--out", "a corpus"], []
    while command:
        done = slash_preloaded(*command, cwd=place, log=tmp_path)
        assert done.returncode == 0, done.stderr
        made.append(command[command.index("--out") + 1])
        last = done.stdout.splitlines()[-1]
        command = shlex.split(last.removeprefix("next: slash ")) if last.startswith("next: slash ") else []
        command = [QUICK.get(word, word) for word in command]
    assert made == ["a corpus", "run-2", "bundle", "clips-3", "page"]
    assert "page/index.html" in last and (place / "page" / "index.html").exists()


def test_commands_that_make_nothing_name_what_to_make(
    corpus: Corpus, run: Run, bundle: Bundle, recordings: Path, tmp_path: Path
) -> None:
    at_8_khz = ["prepare", recordings, "--out", "slow", "--sample-rate", 8000]
    generate = f"slash generate {bundle.path} --out clips -n 8 --seconds 5"
    for command, says in (
        (["info", corpus.path], f"slash train {corpus.path} --out run --init-from box --minutes 2"),
        (at_8_khz, "slash train slow --out run --preset live --set audio.sample_rate=8000 --minutes 30"),
        (["info", run.path], f"slash export {run.path} --out bundle"),
        (["evaluate", run.path, corpus.path], f"slash export {run.path} --out bundle"),
        (["info", bundle.path], generate),
        (["evaluate", bundle.path, corpus.path], generate),
        (["verify", bundle.path], generate),
        (["bench", bundle.path, "-n", 1, "--seconds", 0.01], generate),
        (["generate", bundle.path, "--out", "one.wav", "--seconds", 0.1], "slash gallery one.wav --out page"),
        (["audition", run.path, "--out", "heard", "-n", 1, "--seconds", 0.1], "slash gallery heard --out page"),
    ):
        done = slash_preloaded(*command, cwd=tmp_path, log=tmp_path)
        assert done.stdout.splitlines()[-1] == f"next: {says}", done


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from slash_cli import main; main()"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train nowhere --out run --preset live", "nowhere: does not exist"),
        ("train corpus --out run --preset life", "preset 'life' does not exist; did you mean 'live'?"),
        ("train corpus --out run --set model.widht=3", "model.widht: no such key; did you mean 'model.width'?"),
        ("train corpus --out taken --preset live", "taken: already exists"),
        ("train corpus --out nowhere --resume", "nowhere: does not exist"),
        ("train corpus --out run --init-from nowhere", "nowhere: does not exist"),
        ("export nowhere --out bundle", "nowhere: does not exist"),
        ("export taken --out corpus", "corpus: "),
        ("evaluate nowhere corpus", "nowhere: does not exist"),
        ("evaluate taken nowhere", "nowhere: does not exist"),
        ("audition nowhere --out heard", "nowhere: does not exist"),
        ("audition taken --out heard -n 0", "-n 0: must be from 1 to 100"),
        ("audition taken --out heard --seconds 0", "--seconds 0.0: must be from 0.1"),
    ],
)
def test_refusals_that_need_no_model_come_before_torch(
    corpus: Corpus, tmp_path: Path, command: str, says: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "corpus").symlink_to(corpus.path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "taken"]
