"""Whenever a command is killed, stopped, short of room or not alone, its output is whole; and the next one works."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from fault_samples import Samples
from fault_tally import Tally
from processes import SIGNALS, begin, die_at, work_on_a_full_disk
from works import WORKS, Work, furnish, leftovers, next_command, require_whole

EARLY_AND_LATE = {"prepare --force": (2, 7), "train": (9, 20), "export": (12,), "generate clips": (6, 11), "gallery": (4,)}
"""Before which of its changes on disk a work is killed in the quick half."""
slow = partial(pytest.param, True, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])
each_work = pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)


def _do(work: Work, place: Path, log: Path) -> None:
    """Do what somebody would do next, and check that all is well then."""
    code, said = begin(next_command(work, place), place, log).wait()
    assert code == 0, said
    require_whole(work, place, done=True)
    assert not leftovers(place), leftovers(place)


@pytest.mark.parametrize("everywhere", [False, slow()])
@each_work
def test_killed_before_any_change_on_disk(
    work: Work, everywhere: bool, samples: Samples, tally: Tally, tmp_path: Path
) -> None:
    """The output is the old one or the new one, never half of it; and the same command makes it, leaving nothing."""
    changes = count() if everywhere else EARLY_AND_LATE.get(work.name, ())
    for change in changes:
        assert change < 1000
        place = tmp_path / "place"
        furnish(work, place, samples)
        code, said = begin(work.command, place, tmp_path / "log", partial(die_at, place, change)).wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, said
        require_whole(work, place, done=False)
        _do(work, place, tmp_path / "log")
        shutil.rmtree(place)
        tally.count(f"kills: {work.name}")


@pytest.mark.parametrize("often", [False, slow()])
@each_work
def test_stopped_at_any_moment(work: Work, often: bool, samples: Samples, tally: Tally, tmp_path: Path) -> None:
    if callable(work.command) or not (often or work.name in EARLY_AND_LATE):
        pytest.skip("no command" if callable(work.command) else "slow: run with --slow")
    chance, longest = random.Random(work.name), 0.0  # noqa: S311
    for i in range(12 if often else 1):
        place = tmp_path / "place"
        furnish(work, place, samples)
        number = chance.choice(SIGNALS)
        working = begin(work.command, place, tmp_path / "log")
        working.wait_for_start()
        began = time.monotonic()
        time.sleep(chance.uniform(0, longest if i else 0.2))
        working.send(number)
        code, said = working.wait()
        longest = max(longest, time.monotonic() - began)
        lines = [line for line in said.splitlines() if ": cpu" not in line]
        assert code in (0, 128 + number), (number, code, said)
        assert len(lines) <= 1 or code == 0, said
        require_whole(work, place, done=code == 0)
        _do(work, place, tmp_path / "log")
        shutil.rmtree(place)
        if code:
            tally.count(f"signals: {work.name}")


@pytest.mark.parametrize("sizes", [[48 << 10], pytest.param(range(16 << 10, 1 << 20, 40 << 10), marks=[pytest.mark.slow])])
@each_work
def test_on_a_full_disk(
    work: Work, sizes: list[int], samples: Samples, tally: Tally, tmp_path: Path
) -> None:
    """What was there stays, and when there is room the same command works."""
    place = tmp_path / "place"
    place.mkdir()
    for size in sizes:
        do: Callable[[], object] = partial(work_on_a_full_disk, work.name, place, samples, size, tmp_path / "inner")
        code, said = begin(do, place, tmp_path / "log").wait()
        if code == 4:
            pytest.skip("no disk of one's own")
        assert code in (0, 3), said
        if code == 3:
            break
        tally.count(f"full disks: {work.name}")


@pytest.mark.parametrize("often", [False, slow()])
@each_work
def test_two_at_once(work: Work, often: bool, samples: Samples, tally: Tally, tmp_path: Path) -> None:
    """One of them makes the output; the other is refused in one line, or makes the same."""
    if not (often or work.name in EARLY_AND_LATE):
        pytest.skip("slow: run with --slow")
    chance = random.Random(work.name)  # noqa: S311
    for _ in range(6 if often else 1):
        place = tmp_path / "place"
        furnish(work, place, samples)
        first = begin(work.command, place, tmp_path / "first")
        time.sleep(chance.uniform(0, 0.2))
        second = begin(work.command, place, tmp_path / "second")
        ends = [first.wait(), second.wait()]
        assert {code for code, _ in ends} <= {0, 2} and any(code == 0 for code, _ in ends), ends
        assert all(said.startswith("slash: ") or ": cpu" in said for code, said in ends if code == 2), ends
        require_whole(work, place, done=True)
        assert not leftovers(place), leftovers(place)
        shutil.rmtree(place)
        tally.count(f"concurrent pairs: {work.name}")
