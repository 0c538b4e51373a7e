"""Lets the checkpoints of a run be compared by ear: the same clips from each, and what can be measured in them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from slash_export.rendering import render_model
from slash_infer.clips.best_of import with_measures
from slash_infer.clips.clip_file import sidecar_path
from slash_infer.clips.render import ClipSpec, RenderOptions
from slash_infer.clips.sidecar import Sidecar
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train.checkpoint import Checkpoint
from slash_train.run import Run

PAGE = "audition.json"
MADE_BY = "slash audition"


@dataclass(frozen=True)
class Heard:
    """A checkpoint's clips, on average."""

    step: int
    valid_bits: float | None
    """Its bits per sample on the validation split, if it was scored."""
    score: float
    """As `slash_infer.audio.measures` has it."""
    bits: float
    """Bits per sample that it gave what it drew."""
    level_db: float
    flatness: float
    movement_db: float
    faults: list[str]
    """Of any clip."""


def audition(
    run: Run,
    out: Path,
    checkpoints: Sequence[Checkpoint],
    *,
    clips: int,
    seconds: float,
    seed: int,
    temperature: TemperatureSchedule,
    force: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> list[Heard]:
    """Render clips 0, 1, ... of one seed from each checkpoint into `out/step-*`, on the CPU, in fp32.

    Args:
        run: whose checkpoints they are.
        out: the folder to make.
        checkpoints: to compare.
        clips: from each.
        seconds: length of a clip.
        seed: of the random draws.
        temperature: of all clips.
        force: replace an audition that stands at `out`.
        advance: called after each checkpoint.

    Returns:
        a line for each checkpoint, in their order.

    Raises:
        UserError: `out` exists, or a checkpoint is damaged.
    """
    check_directory_output(out, force=force, metadata=PAGE, made_by=MADE_BY, inputs=[run.path])
    heard = []
    with atomic_directory(out) as folder:
        for checkpoint in checkpoints:
            step = checkpoint.progress().step
            files = [folder / f"step-{step:08d}" / f"clip-{i:04d}.wav" for i in range(clips)]
            specs = [ClipSpec(file, i, temperature) for i, file in enumerate(files)]
            pages = _render(run, checkpoint, specs, RenderOptions(seconds, seed))
            heard.append(_on_average(step, pages))
            advance()
        content = {"made_by": MADE_BY, "run": str(run.path), "seed": seed, "temperature": temperature.plain}
        write_json(folder / PAGE, {**content, "checkpoints": [asdict(line) for line in heard]})
    return heard


def _render(run: Run, checkpoint: Checkpoint, specs: Sequence[ClipSpec], options: RenderOptions) -> list[Sidecar]:
    """Make a checkpoint's clips; return their pages, with what was measured."""
    model, _ = run.load_model(str(checkpoint.path))
    progress = checkpoint.progress()
    rendered = render_model(model, run.preset, run.preset_name, progress.step, progress.valid_bits, specs, options)
    pages = [with_measures(file, page) for file, page in rendered.clips]
    for spec, page in zip(specs, pages, strict=True):
        page.write(sidecar_path(spec.file))
    return pages


def _on_average(step: int, pages: Sequence[Sidecar]) -> Heard:
    measures = [page.measures for page in pages if page.measures is not None]
    return Heard(
        step=step,
        valid_bits=pages[0].provenance.valid_bits,
        score=mean(one.score for one in measures),
        bits=mean(page.bits_per_sample or 0.0 for page in pages),
        level_db=mean(one.level_db for one in measures),
        flatness=mean(one.flatness for one in measures),
        movement_db=mean(one.movement_db for one in measures),
        faults=sorted({fault for one in measures for fault in one.faults}),
    )
