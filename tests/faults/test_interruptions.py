"""Whenever a command is killed, stopped, short of room or not alone, its output is whole; and the next one works."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_samples import Samples
from fault_tally import Tally
from processes import SIGNALS, begin, die_at, work_on_a_full_disk
from works import WORKS, Work, furnish, leftovers, next_command, require_whole

MOST_CHANGES = 1000  # on disk, of any work
ROOM = [2**n << 10 for n in range(2, 11)]  # bytes: 4 KiB to a megabyte
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


def _each_work(what: str, quick: dict[str, Any], slow: Any) -> pytest.MarkDecorator:
    """Try a few works in the quick half, in few ways, and all in the slow half."""
    few = [pytest.param(work, quick[work.name], id=work.name) for work in WORKS if work.name in quick]
    all_ = [pytest.param(work, slow, marks=SLOW, id=f"{work.name}, often") for work in WORKS]
    return pytest.mark.parametrize(("work", what), few + all_)


def _do(work: Work, place: Path, log: Path) -> None:
    """Do what somebody would do next, and check that all is well then."""
    code, said = begin(next_command(work, place), place, log).wait()
    assert code == 0, said
    require_whole(work, place, done=True)
    assert not leftovers(place), leftovers(place)


@_each_work(
    "changes",
    {"prepare --force": (2, 7), "train": (20,), "export": (12,), "generate clips": (6, 11), "gallery": (4,)},
    range(MOST_CHANGES),
)
def test_killed_before_any_change_on_disk(
    work: Work, changes: range, samples: Samples, tally: Tally, tmp_path: Path
) -> None:
    """The output is the old one or the new one, never half of it; and the same command makes it, leaving nothing."""
    place = tmp_path / "place"
    for change in changes:
        furnish(work, place, samples)
        code, said = begin(work.command, place, tmp_path / "log", partial(die_at, place, change)).wait()
        if code == 0:  # it has no more
            assert change > 3
            return
        assert code == -signal.SIGKILL, said
        require_whole(work, place, done=False)
        _do(work, place, tmp_path / "log")
        shutil.rmtree(place)
        tally.count(f"kills: {work.name}")
    assert len(changes) < MOST_CHANGES


@_each_work("times", {"prepare": 1, "generate clips": 2, "gallery": 1}, 12)
def test_stopped_at_any_moment(work: Work, times: int, samples: Samples, tally: Tally, tmp_path: Path) -> None:
    """A signal ends it with its exit code and one line or none."""
    if callable(work.command):
        pytest.skip("it is no command")
    chance, place, longest = random.Random(work.name), tmp_path / "place", 0.1  # noqa: S311
    for _ in range(times):
        furnish(work, place, samples)
        number = chance.choice(SIGNALS)
        working = begin(work.command, place, tmp_path / "log")
        working.wait_for_start()
        began = time.monotonic()
        time.sleep(chance.uniform(0, longest))
        working.send(number)
        code, said = working.wait()
        longest = max(longest, time.monotonic() - began)
        assert code in (0, 128 + number), (number, code, said)
        lines = [line for line in said.splitlines() if not line.startswith("ONNX Runtime")]
        assert len(lines) <= 1 or code == 0, said
        require_whole(work, place, done=code == 0)
        _do(work, place, tmp_path / "log")
        shutil.rmtree(place)
        if code:
            tally.count(f"signals: {work.name}")


@_each_work("room", {"prepare --force": [8 << 10], "generate clips": [4 << 10], "gallery": [64 << 10]}, ROOM)
def test_on_a_full_disk(work: Work, room: list[int], samples: Samples, tally: Tally, tmp_path: Path) -> None:
    """What was there stays, and when there is room the same command works."""
    place = tmp_path / "place"
    place.mkdir()
    for size in room:
        do: Callable[[], object] = partial(work_on_a_full_disk, work.name, place, samples, size, tmp_path / "inner")
        code, said = begin(do, place, tmp_path / "log").wait()
        if code == 4:
            pytest.skip("no disk of one's own")
        assert code in (0, 3), said
        if code == 3:  # it fits
            return
        tally.count(f"full disks: {work.name}")


@_each_work("times", {"prepare": 1, "generate clips": 1, "gallery": 1}, 6)
def test_two_at_once(work: Work, times: int, samples: Samples, tally: Tally, tmp_path: Path) -> None:
    """One of them makes the output; the other is refused in one line, or makes the same."""
    chance, place = random.Random(work.name), tmp_path / "place"  # noqa: S311
    for _ in range(times):
        furnish(work, place, samples)
        first = begin(work.command, place, tmp_path / "first")
        time.sleep(chance.uniform(0, 0.2))
        second = begin(work.command, place, tmp_path / "second")
        ends = [first.wait(), second.wait()]
        assert {code for code, _ in ends} <= {0, 2} and any(code == 0 for code, _ in ends), ends
        refusals = [
            [line for line in said.splitlines() if not line.startswith("ONNX Runtime")] for code, said in ends if code
        ]
        assert all(len(lines) == 1 for lines in refusals), ends
        require_whole(work, place, done=True)
        assert not leftovers(place), leftovers(place)
        shutil.rmtree(place)
        tally.count(f"concurrent pairs: {work.name}")
