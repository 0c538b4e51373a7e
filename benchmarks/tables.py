"""Writes the marked tables of the documents from results, so that no figure in them is typed by hand.

    python benchmarks/tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; NAME is one of TABLES.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

HOME = Path(__file__).resolve().parents[1]
RESULTS = HOME / "benchmarks" / "results"
PAGES = [HOME / "docs" / "performance.md", HOME / "docs" / "box.md"]
_MARKED = re.compile(r"(<!-- table: (?P<name>[\w ]+) -->\n)(?:(?!<!-- table).)*?(<!-- end of table -->)", re.DOTALL)


def main() -> None:
    """Rewrite every page."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(text: str) -> str:
    """Return a page with every table made anew.

    Raises:
        KeyError: there is no table of a name.
    """
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}\n{found[3]}", text)


def _result(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _generation(preset: str) -> str:
    """Samples/s of every way to generate, with the ratio to the eager loop on one thread."""
    rates = _result(f"generate_speed_{preset}")["samples_per_second"]
    baseline = "eager, 1 thread"
    rows = [
        [name, *(f"{batch[name]:,.0f} ({batch[name] / batch[baseline]:.1f} x)" for batch in rates.values())]
        for name in rates["1"]
    ]
    return _table([f"`{preset}`", *(clips_in_words(int(clips)) for clips in rates)], rows)


def _training() -> str:
    """Samples/s of every way to do a training step, with the ratio to the baseline."""
    contents = [_result(name) for name in ("train_speed_slash", "train_speed_live_fp32", "train_speed_live_bf16")]
    columns = [f"`{one['preset']}`, {one['precision']}, {one['batch_size']} x {one['window']}" for one in contents]
    names = {
        "slash": "Slash",
        "plain layers": "Slash with plain layers",
        "baseline": "baseline, always fp32",
        "slash, compiled": "Slash, `--compile`",
    }
    results = [one["samples_per_second"] for one in contents]
    rows = [
        [text, *(f"{one[name]:,.0f} ({one[name] / one['baseline']:.2f} x)" if name in one else "" for one in results)]
        for name, text in names.items()
    ]
    return _table(["", *columns], rows)


def _roofline() -> str:
    rows = [
        [
            one["name"],
            f"{one['products']:,.0f}",
            f"{one['weight_bytes'] / 1e3:,.0f}",
            f"{one['operators']:.1f}",
            f"{one['samples_per_second']:,.0f}",
            f"{one['products_bound']:,.0f}",
            f"{one['bytes_bound']:,.0f}",
            f"{one['share']:.0%}",
            f"{one['microseconds_an_operator']:.2f}",
        ]
        for one in _result("roofline")["generation"]
    ]
    header = ["", "products", "kB of weights", "operators", "samples/s", "bound by products", "bound by bytes"]
    return _table([*header, "of the lower bound", "us an operator"], rows)


def _roofline_of_training() -> str:
    rows = [
        [f"`{name}`", f"{one['samples_per_second']:,.0f}", f"{one['products_bound']:,.0f}", f"{one['share']:.0%}"]
        for name, one in _result("roofline")["training"].items()
    ]
    return _table(["preset", "training samples/s", "bound by products", "of the bound"], rows)


def _scaling() -> str:
    rows = [
        [axis, point["value"], f"{point['samples_per_second']:,.0f}", f"{point['microseconds']:.2f}"]
        for axis, points in _result("scaling")["generation"].items()
        for point in points
    ]
    return _table(["axis", "value", "samples/s of all clips", "us a sample"], rows)


def _scaling_of_a_stream() -> str:
    before, rows = 1.0, []
    for one in _result("scaling")["stream"]:
        realtime = (one["seconds"] - before) / one["took"]
        rows.append([f"{before:g} to {one['seconds']:g} s", f"{realtime:.2f}", f"{one['resident_megabytes']:.1f} MB"])
        before = one["seconds"]
    return _table(["stretch of the stream", "x realtime", "resident after it"], rows)


def _scaling_of_corpora() -> str:
    rows = [
        [
            f"{one['hours']:g} h",
            f"{one['took']:.1f} s",
            f"{one['took'] / one['hours']:.1f} s",
            f"{one['peak_megabytes']:.0f} MB",
            f"{one['bytes'] / 1e6:,.0f} MB",
        ]
        for one in _result("scaling")["corpus"]
    ]
    return _table(["recordings", "`slash prepare`", "for each hour", "memory at most", "samples on disk"], rows)


def _copies() -> str:
    rows = []
    for seed, file in enumerate(("copies_box", "copies_box_seed1")):
        content = _result(file)
        learned, count = content["learned"], content["unseen"]["recordings"]
        groups = {
            f"seed {seed}, with {count} unseen solos": [content["unseen"]],
            f"seed {seed}, with {count} learned ones, mean of {len(learned)} such groups": learned,
        }
        for name, group in groups.items():
            median, longest, long = (mean(one[key] for one in group) for key in ("median", "longest", "long_clips"))
            rows.append([name, f"{median:.2f} s", f"{longest:.2f} s", f"{long:.1f}"])
    header = [
        "longest shared stretch in each of 32 clips",
        "median",
        "longest, mean of the groups",
        "clips with half a second or more",
    ]
    return _table([*header, "clips with half a second or more"], rows)


def clips_in_words(count: int) -> str:
    """Return a number of clips as a text: 1 clip, 2 clips."""
    return f"{count} clip{'s' if count > 1 else ''}"


TABLES: dict[str, Callable[[], str]] = {
    "generation of live": lambda: _generation("live"),
    "generation of slash": lambda: _generation("slash"),
    "training": _training,
    "roofline": _roofline,
    "roofline of training": _roofline_of_training,
    "scaling": _scaling,
    "scaling of a stream": _scaling_of_a_stream,
    "scaling of corpora": _scaling_of_corpora,
    "copies": _copies,
}

if __name__ == "__main__":
    main()
