"""Counts the faults that tests cause, by kind: a pytest plugin that prints them and keeps them as JSON.

A test takes the fixture `tally` and counts what it did: `tally.count("kills", 30)`. The processes of pytest-xdist
send their counts to the one that started them, which adds them up.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slash_infer.files import write_json
from slash_infer.machine import describe_machine

SENT = "faults"  # under this name, to the process that started this one


class Tally:
    """How many faults of each kind were caused."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._began, self._date = time.monotonic(), datetime.now(UTC)

    def count(self, kind: str, times: int = 1) -> None:
        """Add faults of a kind, for example "kills: export" or "hostile: manifest.json"."""
        self.counts[kind] += times

    def lines(self) -> Iterator[str]:
        """Yield a table: a total for each family, what is before the colon, and its kinds."""
        width = max(len(kind) for kind in self.counts) + 2
        for family, kinds in self._families().items():
            yield f"{family:{width}} {sum(kinds.values()):>9,}"
            yield from (f"  {kind:{width - 2}} {times:>9,}" for kind, times in kinds.items() if kind)

    def write(self, path: Path, *, failures: int, slow: bool) -> None:
        """Write the counts, and what they were made with."""
        content = {
            "machine": asdict(describe_machine()),
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._began),
            "slow": slow,
            "failures": failures,
            "totals": {family: sum(kinds.values()) for family, kinds in self._families().items()},
            "counts": dict(sorted(self.counts.items())),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)

    def _families(self) -> dict[str, dict[str, int]]:
        families: dict[str, dict[str, int]] = {}
        for name, times in sorted(self.counts.items()):
            family, _, kind = name.partition(": ")
            families.setdefault(family, {})[kind] = times
        return families


TALLY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session", name="tally")
def _tally(request: pytest.FixtureRequest) -> Tally:
    """What counts the faults that tests cause."""
    return request.config.stash[TALLY]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults-json", type=Path, metavar="PATH", help="write how many faults were caused to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add what a process of pytest-xdist has counted; none if it crashed."""
    sent = getattr(node, "workeroutput", {}).get(SENT, {})
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    config.stash[TALLY].counts.update(sent)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[SENT] = dict(session.config.stash[TALLY].counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash[TALLY]
    if not tally.counts:
        return
    terminalreporter.section("faults caused")
    for line in tally.lines():
        terminalreporter.line(line)
    if path := config.getoption("--faults-json"):
        failures = sum(len(terminalreporter.stats.get(outcome, [])) for outcome in ("failed", "error"))
        tally.write(path, failures=failures, slow=bool(config.getoption("--slow")))
