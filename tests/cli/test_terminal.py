"""What reaches the terminal: nothing that steers it, whatever files, folders and messages of others hold."""

import json
import os
import shutil
from pathlib import Path

import pytest
from slash_process import slash_preloaded

from slash_cli.console import progress_bar, stderr, stdout, table
from slash_infer.bundle import MANIFEST, Bundle

EVIL = "\x1b[31mred\x07\x7f\x85\x9b1m\u202e\u2066\u2028\r\nnext :bomb: [bold]"
ESCAPED = r"\x1b[31mred\x07\x7f\x85\x9b1m\u202e\u2066\u2028\r\nnext :bomb: [bold]"


@pytest.fixture(name="log")
def _log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what a command prints."""
    return tmp_path_factory.mktemp("log")


def run(log: Path, *words: object, cwd: Path) -> tuple[int, str]:
    """Run the command line; return its exit code and what it printed, all together."""
    ended = slash_preloaded(*words, cwd=cwd, log=log)
    return ended.returncode, ended.stdout + ended.stderr


def harmless(text: str) -> bool:
    """Return whether a text is printable, line by line."""
    return all(line.isprintable() for line in text.split("\n"))


def test_lines_tables_and_progress_are_plain_text(capfd: pytest.CaptureFixture[str]) -> None:
    stdout().print(EVIL)
    stderr().print(f"slash: {EVIL}")
    rows = table(EVIL, EVIL, "number")
    rows.add_row(EVIL, "1")
    stdout().print(rows)
    with progress_bar() as progress:
        task = progress.add_task(EVIL)
        progress.update(task, description=EVIL)
        assert progress.tasks[task].description == ESCAPED
    printed = capfd.readouterr()
    assert harmless(printed.out) and harmless(printed.err)
    assert printed.err == f"slash: {ESCAPED}\n"
    assert printed.out.startswith(f"{ESCAPED}\n") and printed.out.count(ESCAPED) >= 2


def test_a_bundle_cannot_write_to_the_terminal(bundle: Bundle, tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "b\x1b[2J\u202e"
    shutil.copytree(bundle.path, folder)
    content = json.loads((folder / MANIFEST).read_text())
    content["provenance"].update(preset=EVIL)
    (folder / MANIFEST).write_text(json.dumps(content))
    code, printed = run(log, "info", folder, cwd=tmp_path)
    assert code == 0 and harmless(printed)
    assert f"from preset {ESCAPED} at step" in printed and r"b\x1b[2J\u202e: 16000 Hz" in printed
    content["\x1b[1mfield\n"] = 1
    (folder / MANIFEST).write_text(json.dumps(content))
    code, printed = run(log, "info", folder, cwd=tmp_path)
    assert code == 2 and printed.count("\n") == 1 and harmless(printed)
    assert r"\x1b[1mfield\n" in printed


@pytest.mark.parametrize("word", ["x\x1b[1m\ny\u2066", os.fsdecode(b"x\xff")])
@pytest.mark.parametrize(
    "command", ["info", "generate --seconds 1 --out x.wav", "generate b --out", "bench b --engine", ""]
)
def test_an_argument_is_repeated_harmlessly(tmp_path: Path, log: Path, command: str, word: str) -> None:
    code, printed = run(log, *command.split(), word, cwd=tmp_path)
    assert code == 2 and printed.count("\n") == 1 and harmless(printed)


def test_a_folder_that_does_not_exist_is_said_not_to(bundle: Bundle, log: Path) -> None:
    for command in ("generate bundl --out x.wav", "info bundl"):
        ended = run(log, *command.split(), cwd=bundle.path.parent)
        assert ended == (2, "slash: bundl: does not exist; did you mean bundle?\n")


def test_fp16_says_where_it_was_measured(bundle: Bundle, log: Path) -> None:
    _, printed = run(log, "info", bundle.path, cwd=log)
    (line,) = [line for line in printed.splitlines() if line.startswith("fp16 against fp32")]
    assert "computed in fp32 on the CPU: only the weights are fp16" in line
