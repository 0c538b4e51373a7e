"""Renders more clips than are wanted, and keeps the best-scoring."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slash_infer.bundle import Bundle
from slash_infer.clips.clip_file import sidecar_beside
from slash_infer.clips.measured import measured
from slash_infer.clips.place import Place
from slash_infer.clips.render import Advance, Again, Heard, Rendered, render, side_by_side
from slash_infer.clips.sidecar import Sidecar
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import atomic_file, scratch_directory
from slash_infer.sampling.engine import Engine

LONGEST = 600.0  # seconds of a clip that is one of many to choose from


@dataclass(frozen=True)
class Chosen:
    """The result of a call of `best_of`."""

    rendered: Rendered
    ranking: list[Sidecar]
    """The sidecars of all candidates, with what was measured in them, the best first."""
    kept: list[Path]
    """The files of the first of them, in their order."""


def best_of(
    bundle: Bundle,
    engine: Engine,
    candidates: Sequence[ClipSpec],
    options: RenderOptions,
    keep: int,
    *,
    again: Again = lambda *_: None,
    stop: Callable[[], object] = lambda: False,
    advance: Advance = lambda *_: None,
    heard: Heard = lambda *_: None,
) -> Chosen:
    """Render all candidates, rank them by their scores, and put the best into their files.

    What is in their places when it begins is replaced, and nothing that appears there later.

    Args:
        bundle: the exported model.
        engine: the bundle's.
        candidates: the clips to choose from, with the files they get if they are kept. All may have the same file,
            which the best one gets.
        options: what they have in common.
        keep: how many to keep.
        again: as for `render`.
        stop: as for `render`. What was rendered by then is ranked.
        advance: called with the progress.
        heard: called with the progress of priming.
    """
    places = {spec.clip: spec.place or Place.look(spec.file) for spec in candidates}
    with scratch_directory("candidates") as folder:
        drafts = {
            spec.clip: replace(spec, file=folder / str(spec.clip) / spec.file.name, place=None) for spec in candidates
        }
        together = side_by_side(engine)
        rendered, ranking = Rendered(together=min(together, len(candidates))), list[Sidecar]()
        for first in range(0, len(candidates), together):
            batch = [drafts[spec.clip] for spec in candidates[first : first + together]]
            part = render(bundle, engine, batch, options, again=again, stop=stop, advance=advance, heard=heard)
            rendered.add(part)
            ranking += [measured(file, sidecar, bundle.recordings) for file, sidecar in part.clips]
            ranking.sort(key=_rank, reverse=True)
            for sidecar in ranking[keep:]:
                drafts[sidecar.recipe.clip].file.unlink(missing_ok=True)
            if part.stopped:
                break
        kept = [places[sidecar.recipe.clip].file for sidecar in ranking[:keep]]
        for sidecar in ranking[:keep]:
            _keep(drafts[sidecar.recipe.clip].file, sidecar, places[sidecar.recipe.clip])
    return Chosen(rendered, ranking, kept)


def _keep(draft: Path, sidecar: Sidecar, place: Place) -> None:
    """Put a clip and its sidecar in place, both or neither."""
    with sidecar_beside(place.file, place) as describe, atomic_file(place.file, force=place.is_taken) as part:
        shutil.copyfile(draft, part)
        describe(sidecar)


def _rank(sidecar: Sidecar) -> tuple[bool, float]:
    """Sort by score, with clips that were cut short last."""
    measures = sidecar.outcome.measures
    return sidecar.outcome.complete, measures.score if measures is not None else 0.0
