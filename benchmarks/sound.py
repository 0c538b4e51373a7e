"""How far a model's clips are from recordings: harmonicity, stuck, onsets, distance, copies (docs/measures.md).

    python benchmarks/sound.py CORPUS --bundle BUNDLE --json benchmarks/results/sound.json
    python benchmarks/sound.py CORPUS --clips FOLDER --json sound.json

Clips of a bundle are unprimed, at the defaults of `slash generate` or at others; the reference is the
corpus's training split, and its held-out splits are scored beside the clips.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from slash_cli.compared_audio import clip_sources, recordings_to_compare
from slash_cli.drawing_options import CandidatesOption, RestartOption
from slash_infer.audio.ear.comparison import Comparison, compare
from slash_infer.bundle import Bundle
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import check_file_output, scratch_directory, write_json
from slash_infer.machine import describe_machine
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, DEFAULT_TEMPERATURE
from slash_infer.sampling.temperature import TemperatureSchedule

MEASURES = ("distance", "harmonicity", "stuck", "onsets", "centroid", "level_db", "longest_copy", "median_copy")


def main(
    corpus: Annotated[Path, typer.Argument(help="A folder made by slash prepare.")],
    json_file: Annotated[Path, typer.Option("--json", help="Where to write the result.")],
    bundle: Annotated[Path | None, typer.Option(help="Make clips of this bundle.")] = None,
    clips: Annotated[list[Path] | None, typer.Option(help="Or take these files or folders; may be repeated.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Clips for each seed.")] = 64,
    seconds: Annotated[float, typer.Option(min=2.0, max=600.0, help="Length of each clip.")] = 10.0,
    seed: Annotated[list[int] | None, typer.Option(help="May be repeated; each makes a round. [default: 0]")] = None,
    temperature: Annotated[float, typer.Option(help="Of all clips.")] = DEFAULT_TEMPERATURE,
    candidates: CandidatesOption = DEFAULT_CANDIDATES,
    restart: RestartOption = True,
    keep: Annotated[Path | None, typer.Option(help="Keep the bundle's clips in this folder.")] = None,
) -> None:
    """Compare a bundle's clips, or clips that are there, with the recordings of a corpus."""
    if (bundle is None) == (not clips):
        raise typer.BadParameter("give either --bundle or --clips")
    check_file_output(json_file, force=True)
    content: dict[str, Any] = {"machine": asdict(describe_machine()), "corpus": str(corpus)}
    if bundle is None:
        rounds = [{"clips": [str(path) for path in clips or ()], **_measured(clips or (), corpus)}]
    else:
        opened = Bundle(bundle)
        content |= {
            "bundle": str(bundle),
            "manifest_sha256": opened.manifest_sha256,
            "seconds": seconds,
            "n": count,
            "temperature": temperature,
            "candidates": candidates,
            "restart": restart,
        }
        content["provenance"] = opened.manifest.provenance.model_dump(mode="json")
        jobs = [RenderOptions(seconds, each, candidates=candidates, restart=restart) for each in seed or [0]]
        drawn = TemperatureSchedule.constant(temperature)
        rounds = [{"seed": job.seed, **_made(opened, corpus, job, drawn, count, keep)} for job in jobs]
    content["rounds"] = rounds
    content["mean"] = {name: mean(one["clips_score"][name] for one in rounds) for name in MEASURES}
    content["recordings"] = rounds[0]["recordings"]
    write_json(json_file, content, force=True)
    print(f"{'':14}{'clips':>10}{'recordings':>12}")
    for name in MEASURES:
        print(f"{name:14}{content['mean'][name]:10.3f}{content['recordings'][name]:12.3f}")


def _made(
    bundle: Bundle,
    corpus: Path,
    options: RenderOptions,
    temperature: TemperatureSchedule,
    count: int,
    keep: Path | None,
) -> dict[str, Any]:
    """Make clips of one seed from silence, and measure them."""
    engine = open_engine(bundle)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_directory("sound")) if keep is None else keep / f"seed-{options.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        specs = [ClipSpec(folder / f"clip-{i:04d}.wav", i, temperature) for i in range(count)]
        render(bundle, engine, specs, options)
        measured = _measured([folder], corpus)
    return {"engine": engine.runtime.name, "precision": engine.precision, **measured}


def _measured(clips: Sequence[Path], corpus: Path) -> dict[str, Any]:
    learned, held_out = recordings_to_compare([corpus])
    found: Comparison = compare(clip_sources(clips), learned, held_out)
    each = [{**asdict(clip), "name": Path(clip.name).name} for clip in found.each]
    return {
        "reference": {"count": found.reference_count, "seconds": found.reference_seconds},
        "clips_score": asdict(found.clips),
        "recordings": {**asdict(found.recordings), "held_out": found.held_out},
        "each": each,
    }


if __name__ == "__main__":
    typer.run(main)
