"""Resumes a job: finished clips stay, clips that were cut short are completed, anything else is refused."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from slash_infer.bundle import Bundle
from slash_infer.clips.place import Place, check_sidecar_is_its_own
from slash_infer.clips.sidecar import MADE_BY, ClipOutcome, Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions, recipe_of
from slash_infer.errors import UserError
from slash_infer.files import FileRule, sweep
from slash_infer.sampling.engine import Engine


def check_places(files: Sequence[Path], *, force: bool, resume: bool = True) -> list[Place]:
    """Check, before any work is done, that clips and their sidecars may be written.

    What killed processes left of them is swept.

    Args:
        files: of the clips.
        force: whether clips that Slash made may be replaced.
        resume: whether clips may be there already, for `unfinished` to look at.

    Returns:
        what is in each place, and may be replaced.

    Raises:
        UserError: something else is there.
    """
    sweep([*files, *map(sidecar_path, files)])
    places = [Place.look(file) for file in files]
    for file in files:
        check_sidecar_is_its_own(file)
        FileRule(force or (resume and _is_clip(file))).check(file)
        # A sidecar without its clip was left by a process that was killed.
        FileRule(force=True, made_by=MADE_BY).check(sidecar_path(file))
    return places


def unfinished(
    bundle: Bundle, engine: Engine, specs: Sequence[ClipSpec], options: RenderOptions, *, force: bool
) -> list[ClipSpec]:
    """Return the clips of a job that are still to be rendered, including those cut short; with `force`, all of them.

    Raises:
        UserError: a clip is there that does not belong to this job.
    """
    missing = []
    for looked_at in specs:
        spec = replace(looked_at, place=Place.look(looked_at.file))
        if not _is_clip(spec.file):
            FileRule(force).check_replaced(spec.file, spec.file)
            missing.append(spec)
            continue
        try:
            sidecar = Sidecar.read(sidecar_path(spec.file))
        except UserError:
            if not force:
                raise
            missing.append(spec)
            continue
        difference = sidecar.recipe.difference(recipe_of(spec, options, bundle, engine)) or _wrong_length(
            sidecar.outcome, options.seconds, bundle.manifest.sample_rate
        )
        if difference is not None and not force:
            raise UserError(
                spec.file, f"already exists, with another {difference}", "choose another `out` or pass `force`"
            )
        if difference is not None:
            missing.append(spec)
        elif force or not sidecar.outcome.complete:
            missing.append(replace(spec, existing_seconds=sidecar.outcome.seconds))
    return missing


def _is_clip(file: Path) -> bool:
    return file.is_file() and sidecar_path(file).is_file()


def _wrong_length(outcome: ClipOutcome, seconds: float, sample_rate: int) -> str | None:
    """Return what is wrong with a clip's length, or None. A clip cut short may be shorter."""
    wanted = seconds if seconds == inf else round(seconds * sample_rate) / sample_rate
    fits = outcome.seconds == wanted if outcome.complete else outcome.seconds < wanted
    if not fits:
        return "length"
    return "end" if wanted == inf else None  # an endless clip cannot be continued
