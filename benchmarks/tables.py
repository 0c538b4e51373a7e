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
PAGES = [HOME / "README.md", *(HOME / "docs" / f"{name}.md" for name in ("performance", "box", "deploy"))]
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


def _generation_in_short() -> str:
    """What Slash makes of each preset beside the better of the eager loops."""
    rows, batches = [], list[str]()
    for preset in ("live", "slash"):
        content = _result(f"generate_speed_{preset}")
        rates, rate = content["samples_per_second"], content["sample_rate"]
        batches = [*rates]
        eager = {clips: max(batch["eager, 1 thread"], batch["eager, 2 threads"]) for clips, batch in rates.items()}
        rows.append([f"`{preset}`, eager PyTorch, better of 1 and 2 threads", *(f"{eager[n]:,.0f}" for n in batches)])
        made = {one: {n: rates[n][f"cpu {one}, as slash runs it"] for n in batches} for one in ("fp32", "int8")}
        rows.append([f"`{preset}`, fp32", *(f"{made['fp32'][n]:,.0f}" for n in batches)])
        int8 = [
            f"**{made['int8'][n]:,.0f}**: {made['int8'][n] / rate:.1f} x realtime, "
            f"{made['int8'][n] / eager[n]:.1f} x eager"
            for n in batches
        ]
        rows.append([f"`{preset}`, int8", *int8])
    return _table(["samples/s, total over the batch", *(clips_in_words(int(n)) for n in batches)], rows)


def _generation_on_a_gpu(names: Sequence[str]) -> str:
    """How many times realtime some contenders make on a GPU, over the batch."""
    contents = {preset: _result(f"generate_speed_{preset}_h100") for preset in ("live", "slash")}
    rates = {
        (preset, name): {
            clips: batch[name] / content["sample_rate"] for clips, batch in content["samples_per_second"].items()
        }
        for preset, content in contents.items()
        for name in names
    }
    batches = sorted({int(clips) for of in rates.values() for clips in of})

    def cell(preset: str, name: str, clips: str) -> str:
        if clips not in rates[preset, name]:
            return "not measured"
        value = rates[preset, name][clips]
        text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        return f"**{text}**" if value == max(rates[preset, other][clips] for other in names) else text

    rows = [[f"{clips:,}", *(cell(*key, str(clips)) for key in rates)] for clips in batches]
    return _table(["clips", *(f"`{preset}`: {name}" for preset, name in rates)], rows)


def _stages_on_a_gpu() -> str:
    """Microseconds of a step of the top tier, by stage."""
    results = _result("gpu_throughput_live_h100")["results"]
    rows = []
    for clips, one in results.items():
        stages = [
            f"{stage['microseconds']:.0f}" + (f" x {stage['times']}" if stage["times"] > 1 else "")
            for stage in one["stages"].values()
        ]
        realtime = [f"{one['realtime'][name]:,.0f}" for name in ("steps", "runner", "sampler")]
        rows.append([f"{int(clips):,}", f"{one['step_microseconds']:,.0f}", *stages, *realtime])
    names = [name.replace("samples 1", "draws") for name in next(iter(results.values()))["stages"]]
    header = ["clips", "a step, us", *names, "x realtime, GPU alone", "with copies", "`Sampler`"]
    return _table(header, rows)


def _training_in_short() -> str:
    rates = _result("train_speed_slash")["samples_per_second"]
    rows = [
        [name, f"{rates[key]:,.0f}", f"{rates[key] / rates['baseline']:.2f} x"]
        for name, key in (("baseline", "baseline"), ("Slash", "slash"))
    ]
    header = "`slash`, 45 million parameters (as it was: Adam, frames of 16)"
    return _table([header, "training samples/s", ""], rows)


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


def _architectures() -> str:
    """What each architecture learns in equal CPU time, and how fast it generates."""
    content = _result("architectures")
    speeds = content["speeds"]
    rows = []
    for one in content["results"]:
        speed = speeds[one["name"]]
        rows.append(
            [
                one["name"],
                f"{one['parameters']:,}",
                f"{speed['products']:,.0f}",
                f"{one['samples_per_second']:,.0f}",
                f"{one['ema_bits']['valid']:.3f}",
                f"{one['ema_bits']['test']:.3f}",
                f"{speed['realtime']:.2f}",
            ]
        )
    (untrained,) = speeds.keys() - {one["name"] for one in content["results"]}
    bits, speed = _result("nlms")["bits"], speeds[untrained]
    products, realtime = f"{speed['products']:,.0f}", f"{speed['realtime']:.2f}"
    rows.append([untrained, "", products, "", *(f"{bits[split]:.3f}" for split in ("valid", "test")), realtime])
    header = ["model", "parameters", "products a sample", "training samples/s", "validation", "test", "x realtime"]
    return _table(header, rows)


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
            f"seed {seed}, with all {content['all_learned']['recordings']} learned ones": [content["all_learned"]],
        }
        for name, group in groups.items():
            keys = ("median", "longest", "long_clips", "longest_passage", "long_passages")
            median, longest, long, passage, passages = (mean(one[key] for one in group) for key in keys)
            rows.append(
                [name, f"{median:.2f} s", f"{longest:.2f} s", f"{long:.1f}", f"{passage:.2f} s", f"{passages:.1f}"]
            )
    header = ["what each of 32 clips shares", "median copy", "longest copy", "clips with half a second or more"]
    return _table([*header, "longest passage", "clips with half a second or more"], rows)


def _new_user() -> str:
    """Seconds of every step of somebody who is new."""
    rows = [
        [way, step, f"{seconds:,.1f} s"]
        for way, steps in _result("new_user")["results"].items()
        for step, seconds in steps
    ]
    return _table(["", "step", "took"], rows)


def _compiled() -> str:
    """Samples/s of the engine compiled beside ONNX Runtime."""
    rows = []
    for preset in ("live", "slash"):
        rates = _result(f"generate_speed_{preset}_avx2")["samples_per_second"]
        for precision in ("int8", "fp32"):
            cells = []
            for batch in rates.values():
                ours, theirs = batch[f"compiled {precision}"], batch[f"cpu {precision}, as slash runs it"]
                cells.append(f"{theirs:,.0f}, {ours:,.0f} (**{ours / theirs:.2f} x**)")
            rows.append([f"`{preset}`, {precision}", *cells])
        batches = [*rates]
    return _table(["samples/s by `cpu`, by `compiled`", *(clips_in_words(int(n)) for n in batches)], rows)


def clips_in_words(count: int) -> str:
    """Return a number of clips as a text: 1 clip, 2 clips."""
    return f"{count} clip{'s' if count > 1 else ''}"


TABLES: dict[str, Callable[[], str]] = {
    "generation of live": lambda: _generation("live"),
    "generation of slash": lambda: _generation("slash"),
    "generation in short": _generation_in_short,
    "generation on a GPU": lambda: _generation_on_a_gpu(("eager", "cuda fp32", "cuda fp16", "cluster fp16")),
    "generation on a GPU in short": lambda: _generation_on_a_gpu(("eager", "cuda fp16", "cluster fp16")),
    "stages on a GPU": _stages_on_a_gpu,
    "training": _training,
    "training in short": _training_in_short,
    "architectures": _architectures,
    "roofline": _roofline,
    "roofline of training": _roofline_of_training,
    "scaling": _scaling,
    "scaling of a stream": _scaling_of_a_stream,
    "scaling of corpora": _scaling_of_corpora,
    "copies": _copies,
    "compiled": _compiled,
    "new user": _new_user,
}

if __name__ == "__main__":
    main()
