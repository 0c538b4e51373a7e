"""A signal ends a command with 128 + its number and one line or none, from the first line of Slash to the last."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from fault_tally import Tally
from slash_process import start

from slash_train.corpus import Corpus

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"
CORPUS = "CORPUS"  # in commands: the session's
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Sends a signal to itself at the n-th import after the command has begun.
AT_AN_IMPORT = """
import os, sys
number, countdown = int(sys.argv.pop(1)), int(sys.argv.pop(1))
from slash_cli import main
def hook(event, args):
    global countdown
    if event == "import":
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), number)
sys.addaudithook(hook)
main()
"""


def _run(script: str, *arguments: object, ignored: signal.Signals | None = None) -> subprocess.CompletedProcess[str]:
    def heed() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heed)


def _assert_stopped(done: subprocess.CompletedProcess[str], number: int) -> None:
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr in ("", "slash: stopped\n")


@pytest.mark.parametrize(
    ("number", "imports", "command"),
    [
        (signal.SIGINT, 1, ["--help"]),
        (signal.SIGTERM, 60, ["--help"]),
        (signal.SIGHUP, 150, ["info", EXAMPLE]),
        (signal.SIGINT, 250, ["info", EXAMPLE]),
        (signal.SIGTERM, 350, ["generate", EXAMPLE, "--out", "never.wav"]),
        (signal.SIGINT, 450, ["train", CORPUS, "--out", "never"]),
        (signal.SIGTERM, 1200, ["train", CORPUS, "--out", "never"]),
    ],
)
def test_a_signal_while_modules_load(
    corpus: Corpus, number: signal.Signals, imports: int, command: list[object], tally: Tally
) -> None:
    command = [corpus.path if word == CORPUS else word for word in command]
    _assert_stopped(_run(AT_AN_IMPORT, int(number), imports, *command), number)
    tally.count("signals: while modules load")


LIBRARY = """
from pathlib import Path
def work():
    try:
        import slow
        import time
        time.sleep(60)
    finally:
        Path("tidy").touch()
"""
SLOW = """
import os, signal, time
from pathlib import Path
os.kill(os.getpid(), signal.SIGTERM)
for _ in range(20):
    time.sleep(0.01)
Path("loaded").touch()
"""
WORKING = """
import sys
sys.path.insert(0, "")
from slash_cli.stopping import heed_signals
heed_signals()
import library
library.work()
"""


def test_a_library_that_imports_in_the_midst_of_work_is_left_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside an import may be taken for a missing package."""
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.chdir(tmp_path)
    _assert_stopped(_run(WORKING), signal.SIGTERM)
    assert (tmp_path / "loaded").exists() and (tmp_path / "tidy").exists()


# Sends a signal to itself at the end, from what the loaded modules do then or, later still, from a finaliser.
AT_EXIT = """
import atexit, os, sys
number, when = int(sys.argv.pop(1)), sys.argv.pop(1)
from slash_cli import main
class Finalised:
    def __del__(self):
        os.kill(os.getpid(), number)
        for _ in range(1000):
            pass
def hook(event, args):
    global kept
    if event == "import" and args[0] == "typer":
        if when == "exit":
            atexit.register(os.kill, os.getpid(), number)
        else:
            kept = Finalised()
sys.addaudithook(hook)
main()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_exit_leaves_no_trace(number: signal.Signals) -> None:
    _assert_stopped(_run(AT_EXIT, int(number), "exit", "--version"), number)
    done = _run(AT_EXIT, int(number), "finalisation", "--version")
    assert (done.returncode, done.stderr) == (0, "")  # all is done by then


IN_A_FINALISER = """
import os, signal, sys
from slash_cli import main
class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
import slash_infer.errors
genuine = slash_infer.errors.UserError.__init__
def finalise(self, *arguments):
    Finalised()
    genuine(self, *arguments)
slash_infer.errors.UserError.__init__ = finalise
sys.argv = ["slash", "info", "nothing"]
main()
"""


def test_a_signal_in_a_finaliser_is_not_lost() -> None:
    """Python prints and drops exceptions there."""
    _assert_stopped(_run(IN_A_FINALISER), signal.SIGINT)


def test_an_ignored_signal_stays_ignored() -> None:
    for number in SIGNALS:
        done = _run(AT_AN_IMPORT, int(number), 150, "info", EXAMPLE, ignored=number)
        assert (done.returncode, done.stderr) == (0, "")
        assert "bits/sample" in done.stdout or "graph" in done.stdout


def test_a_second_signal_does_not_wait(corpus: Corpus, tmp_path: Path) -> None:
    """Training notes the first one, and saves before it stops; the second one stops it."""
    command = ["train", corpus.path, "--out", tmp_path / "run", "--preset", "tiny", "--steps", "1000000"]
    process = start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr and stderr.count("stopped") <= 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_signal_at_any_moment(corpus: Corpus, tmp_path: Path, tally: Tally) -> None:
    """But for the moments before the interpreter has read the first line of Slash, which are Python's."""
    commands: dict[str, tuple[float, list[object]]] = {
        "help": (0.6, ["--help"]),
        "info": (1.0, ["info", EXAMPLE]),
        "generate": (2.0, ["generate", EXAMPLE, "--seconds", "0.2", "--out"]),
        "train": (6.0, ["train", corpus.path, "--preset", "tiny", "--steps", "30", "--out"]),
    }
    chance = random.Random(1)  # noqa: S311
    for i in range(200):
        longest, command = commands[chance.choice(list(commands))]
        number = chance.choice(SIGNALS)
        if command[-1] == "--out":
            command = [*command, tmp_path / f"{i}.wav"]
        heed = partial(signal.signal, number, signal.SIG_DFL)
        process = subprocess.Popen(
            [sys.executable, "-c", "from slash_cli import main; print(flush=True); main()", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed,  # noqa: PLW1509
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.001, longest))
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        lines = [line for line in stderr.splitlines() if not line.startswith("ONNX Runtime")]
        assert process.returncode in (0, 128 + number), (i, command, stderr)
        assert len(lines) <= 1, (i, command, stderr)
        tally.count("signals: start-up and work")
