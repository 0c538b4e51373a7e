"""Writes docs/reliability.md from what the fault suite counted.

pytest tests/faults --slow --faults-json benchmarks/results/faults.json --numprocesses 2 --dist worksteal
python benchmarks/reliability.py
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak import Watched

HOME = Path(__file__).resolve().parents[1]
COUNTS = HOME / "benchmarks" / "results" / "faults.json"
SOAK = HOME / "benchmarks" / "results" / "soak.json"
PAGE = HOME / "docs" / "reliability.md"


@dataclass(frozen=True)
class Promise:
    """What is promised where faults of a family happen, and how that is tested."""

    text: str
    tested: str
    by: str


INTERRUPTIONS = "test_interruptions.py"
PROMISES = {
    "kills": Promise(
        "Killed at any moment, a command leaves what was there before or the whole new thing, and the same command "
        "then makes it and leaves nothing behind.",
        "Processes are killed before every single change that they make on disk.",
        INTERRUPTIONS,
    ),
    "signals": Promise(
        "Stopped by a signal, it ends with 128 + the signal's number and one line or none; what it made is whole.",
        "SIGINT, SIGTERM and SIGHUP at random moments.",
        INTERRUPTIONS,
    ),
    "full disks": Promise(
        "On a full disk, what was there stays, and with room the same command works.",
        "File systems of 4 KiB to a megabyte, until a command fits.",
        INTERRUPTIONS,
    ),
    "concurrent pairs": Promise(
        "Of two commands with one output, one makes it, and the other makes the same or is refused in one line.",
        "Pairs that start at random moments.",
        INTERRUPTIONS,
    ),
    "hostile files": Promise(
        "Whatever is in a file, it is used or refused in one line that names it; nothing outside is read or written.",
        "Every kind of file that Slash reads, with bits turned, cut, joined, and values replaced.",
        "test_hostile_files.py",
    ),
    "hostile words": Promise(
        "Whatever an option, a setting or a configuration says, it is used or refused in one line, with exit code 2.",
        "Every option and setting, with words that mean something elsewhere.",
        "test_hostile_words.py",
    ),
}


def page(counted: dict[str, Any], soaked: dict[str, Any]) -> str:
    """Return the document, from the contents of faults.json and soak.json."""
    failures, totals = counted["failures"], counted["totals"]
    if set(totals) != set(PROMISES):
        raise SystemExit("there is a family of faults without a promise, or the other way round")
    rows = [
        f"| {promise.text} | {promise.tested} [{promise.by}](../tests/faults/{promise.by}) | {totals[family]:,} |"
        for family, promise in PROMISES.items()
    ]
    kinds: dict[str, list[str]] = {}
    for name, times in counted["counts"].items():
        family, _, kind = name.partition(": ")
        kinds.setdefault(family, []).append(f"{kind} {times:,}")
    details = [f"- **{family}**: {', '.join(kinds[family])}" for family in PROMISES]
    result = "all held" if not failures else f"**{failures} tests failed**"
    machine = counted["machine"]
    return "\n".join(
        [
            "# Reliability",
            "",
            "What is promised where something goes wrong, and how often that was tried. This page is written by",
            "[`benchmarks/reliability.py`](../benchmarks/reliability.py) from the counts of the fault suite",
            f"([result](../benchmarks/results/faults.json)): {sum(totals.values()):,} faults",
            f"in {counted['seconds']} s on {counted['date'][:10]}",
            f"({machine['cores']} cores of an {machine['processor']}, Python {machine['python']}); {result}.",
            "",
            "| promise | how it is tried | cases |",
            "|---|---|---|",
            *rows,
            "",
            "A few of each are in `make test`; all of them are behind `pytest tests/faults --slow`.",
            "What has been added since that day is not in the counts.",
            "",
            "## Of which",
            "",
            *details,
            "",
            "## Over time",
            "",
            *_over_time(soaked),
            "",
            "## Not tried",
            "",
            "Power cuts (files are flushed to the disk before they are moved into place, but no power was cut),",
            "network file systems, and damage to memory.",
            "",
        ]
    )


def _over_time(soaked: dict[str, Any]) -> list[str]:
    lines = [
        f"`make soak` trains and generates side by side. In {soaked['minutes']:g} minutes",
        "([result](../benchmarks/results/soak.json)), medians of the second quarter and of the last:",
        "",
    ]
    for what, one in soaked["results"].items():
        grew, said = Watched(**one).verdict()
        lines.append(f"- **{what}**: {said}; {'grew: ' + ', '.join(grew) if grew else 'flat'}")
    return lines


def main() -> None:
    """Write the document."""
    counted, soaked = (json.loads(path.read_text(encoding="utf-8")) for path in (COUNTS, SOAK))
    PAGE.write_text(page(counted, soaked), encoding="utf-8")


if __name__ == "__main__":
    main()
