"""Renders the same clips from several checkpoints of a run, and measures them, to compare the checkpoints by ear."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from slash_export.recordings import corpus_of, learned_recordings
from slash_export.rendering import render_model
from slash_infer.audio.ear.recordings import Recordings
from slash_infer.clips.measured import measured
from slash_infer.clips.sidecar import Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train.checkpoint import Checkpoint
from slash_train.corpus import Corpus
from slash_train.run import Run
from slash_train.trained_model import TrainedModel

METADATA = "audition.json"
MADE_BY = "slash audition"


@dataclass(frozen=True)
class Auditioned:
    """The measures of one checkpoint's clips, averaged over the clips."""

    step: int
    valid_bits: float | None
    """Bits per sample of the checkpoint on the validation split, if it was scored."""
    score: float
    """The score of `slash_infer.clips.measured`."""
    bits: float
    """Negative log2-likelihood that the model gives its own draws, in bits per sample."""
    level_db: float
    flatness: float
    movement_db: float
    harmonicity: float
    stuck: float
    distance: float | None
    """Of each clip by itself from the recordings that were learned; None if they are gone, or the clips too short."""
    faults: list[str]
    """Faults found in any of the clips."""


def audition(
    run: Run,
    out: Path,
    checkpoints: Sequence[Checkpoint],
    *,
    clips: int,
    seconds: float,
    seed: int,
    temperature: TemperatureSchedule,
    floor: float,
    candidates: int,
    restart: bool,
    force: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> list[Auditioned]:
    """Render clips 0, 1, ... of one seed from each checkpoint into `out/step-*`, on the CPU, in fp32.

    Args:
        run: the run that the checkpoints belong to.
        out: the folder to make.
        checkpoints: the checkpoints to compare.
        clips: number of clips from each.
        seconds: length of a clip.
        seed: seed of the random draws.
        temperature: temperature of all clips.
        floor: floor of all clips.
        candidates: as for a `Sampler`.
        restart: likewise.
        force: replace an existing audition at `out`.
        advance: called after each checkpoint.

    Returns:
        one entry for each checkpoint, in their order.

    Raises:
        UserError: `out` exists, a checkpoint is damaged, or an option is out of range.
    """
    options = RenderOptions(seconds, seed, floor=floor, candidates=candidates, restart=restart)
    check_directory_output(out, force=force, metadata=METADATA, made_by=MADE_BY, inputs=[run.path])
    auditioned, corpus = [], corpus_of(run)
    recordings = learned_recordings(corpus)
    with atomic_directory(out, force=force, metadata=METADATA, made_by=MADE_BY) as folder:
        for checkpoint in checkpoints:
            trained = run.load_model(str(checkpoint.path))
            files = [folder / f"step-{trained.step:08d}" / f"clip-{i:04d}.wav" for i in range(clips)]
            specs = [ClipSpec(file, i, temperature) for i, file in enumerate(files)]
            sidecars = _render(trained, corpus, specs, options, recordings)
            auditioned.append(_mean(trained.step, sidecars))
            advance()
        drawn = {"seed": seed, "temperature": temperature.plain, "floor": floor}
        drawn |= {"candidates": candidates, "restart": restart}
        content = {"made_by": MADE_BY, "run": str(run.path), **drawn}
        write_json(folder / METADATA, {**content, "checkpoints": [asdict(line) for line in auditioned]})
    return auditioned


def _render(
    trained: TrainedModel,
    corpus: Corpus | None,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
    recordings: Recordings | None,
) -> list[Sidecar]:
    """Render the clips; return their sidecars, with measures."""
    rendered = render_model(trained, corpus, specs, options)
    sidecars = [measured(file, sidecar, recordings) for file, sidecar in rendered.clips]
    for spec, sidecar in zip(specs, sidecars, strict=True):
        sidecar.write(sidecar_path(spec.file))
    return sidecars


def _mean(step: int, sidecars: Sequence[Sidecar]) -> Auditioned:
    outcomes = [sidecar.outcome for sidecar in sidecars]
    measures = [outcome.measures for outcome in outcomes if outcome.measures is not None]
    heard = [outcome.heard for outcome in outcomes if outcome.heard is not None]
    distances = [one.distance for one in heard if one.distance is not None]
    return Auditioned(
        step=step,
        valid_bits=sidecars[0].provenance.valid_bits,
        score=mean(one.score for one in measures),
        bits=mean(outcome.bits_per_sample or 0.0 for outcome in outcomes),
        level_db=mean(one.level_db for one in measures),
        flatness=mean(one.flatness for one in measures),
        movement_db=mean(one.movement_db for one in measures),
        harmonicity=mean(one.harmonicity for one in heard),
        stuck=mean(one.stuck for one in heard),
        distance=mean(distances) if distances else None,
        faults=sorted({fault for one in measures for fault in one.faults}),
    )
