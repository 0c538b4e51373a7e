"""What killed processes leave is swept by the next one, and what living ones work on is not."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_tally import Tally

from slash_infer.files import check_directory_output, check_file_output, locked, scratch_directory, sweep, sweep_below

HELPERS = Path(__file__).parent


@pytest.mark.parametrize("what", ["outputs", "clips"])
def test_whenever_a_process_is_killed_its_outputs_are_whole_or_absent(
    tmp_path: Path, what: str, tally: Tally
) -> None:
    """What it was killed in is made again afterwards, and nothing else is left."""
    helper = [sys.executable, str(HELPERS / f"killed_{what}.py"), str(tmp_path)]
    done = subprocess.run(helper, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    tally.count(f"kills: {what} in place", sum(kills.values()))
    assert all(count > 20 for count in kills.values()) and sum(kills.values()) > 90


@contextmanager
def _at_work(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to make something, and is killed in the end."""
    imports = "from pathlib import Path; from slash_infer.files import *"
    program = f"{imports}\nwith {code} as part:\n    print(part, flush=True)\n    input()"
    process = subprocess.Popen([sys.executable, "-c", program], text=True, stdin=-1, stdout=-1)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("make", ["atomic_file", "atomic_directory"])
def test_a_part_is_swept_when_its_process_is_dead_and_not_before(tmp_path: Path, make: str) -> None:
    out = tmp_path / "out"
    with _at_work(f"{make}(Path({str(out)!r}))") as process:
        part = Path(str(process.stdout and process.stdout.readline().strip()))
        check_directory_output(out, force=False, metadata="made.json", made_by="a test")
        check_file_output(out, force=False)
        sweep_below(tmp_path)
        assert part.parent.is_dir() and part.parent.parent == tmp_path
        check_file_output(tmp_path / "other", force=False)
    assert part.parent.is_dir()
    check_file_output(tmp_path / "other", force=False)
    assert part.parent.is_dir()
    check_file_output(out, force=False)
    assert list(tmp_path.iterdir()) == []


def test_scratch_is_swept_by_who_needs_some_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with _at_work("scratch_directory('candidates')") as process:
        part = Path(str(process.stdout and process.stdout.readline().strip()))
        with scratch_directory("candidates") as own:
            assert part.is_dir() and own.is_dir() and own.parent.stat().st_mode & 0o777 == 0o700
    with scratch_directory("other"):
        assert part.is_dir()
    with scratch_directory("candidates"):
        assert not part.exists()
    assert list(tmp_path.iterdir()) == []


def test_only_what_slash_made_is_swept(tmp_path: Path) -> None:
    """Names are not enough: a part has a lock, and nothing else that no part has."""
    token = "0123abcd"  # noqa: S105  no password
    mine = [
        tmp_path / f".out.{token}.part",
        tmp_path / ".out.0123abcz.part" / "lock",
        tmp_path / ".out.part" / "lock",
        tmp_path / ".out.old" / "lock",
        tmp_path / f".out.{token[::-1]}.part" / "thesis.txt",
    ]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    (mine[-1].parent / "lock").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").touch()
    (tmp_path / ".out.aaaaaaaa.part").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    sweep([tmp_path / "out"])
    sweep_below(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_goes_on_while_others_make_parts(tmp_path: Path) -> None:
    """Parts come between the listing of the folder and the search for them."""
    code = f"write_json(Path({str(tmp_path / 'out')!r}), {{}})"
    program = f"from pathlib import Path; from slash_infer.files import *\nprint(flush=True)\nwhile True: {code}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=-1) as busy:
        assert busy.stdout and busy.stdout.readline()
        try:
            for _ in range(2000):
                sweep_below(tmp_path)
            assert busy.poll() is None
        finally:
            busy.kill()


def test_a_part_that_was_killed_before_it_had_a_lock_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".out.0123abcd.part").mkdir()
    sweep([tmp_path / "out"])
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_waited_for_and_goes_with_its_process(tmp_path: Path) -> None:
    clip = tmp_path / "clip.json"
    with _at_work(f"locked(Path({str(clip)!r}))") as process:
        assert process.stdout and process.stdout.readline()
        sweep([clip])
        assert [path.name for path in tmp_path.iterdir()] == [".clip.json.lock"]
        waiting = [
            sys.executable,
            "-c",
            f"from slash_infer.files import *; from pathlib import Path\n"
            f"with locked(Path({str(clip)!r})): print('in')",
        ]
        waits = subprocess.Popen(waiting, text=True, stdout=-1)
        with pytest.raises(subprocess.TimeoutExpired):
            waits.wait(0.5)
        process.send_signal(signal.SIGKILL)
        assert waits.communicate()[0] == "in\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".clip.json.lock").touch()
    sweep([clip])
    assert list(tmp_path.iterdir()) == []
    with locked(clip), pytest.raises(ZeroDivisionError), locked(tmp_path / "other.json"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
