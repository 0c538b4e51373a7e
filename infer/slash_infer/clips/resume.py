"""Goes on with a job that was stopped: finished clips stay, those cut short are made whole, all else is refused."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from slash_infer.audio.audio_files import FORMATS
from slash_infer.bundle import Bundle
from slash_infer.clips.clip_file import sidecar_path
from slash_infer.clips.render import ClipSpec, RenderOptions, description
from slash_infer.clips.sidecar import MADE_BY, Sidecar
from slash_infer.errors import UserError
from slash_infer.files import check_file_output
from slash_infer.sampling.engine import Engine

# What a clip is a function of, besides its prime and its length. The same on another engine it is but for rounding.
DEFINING = ("manifest_sha256", "precision", "seed", "clip", "alone", "temperature")
NAMES = {"alone": "way of making it (-n 1 by itself, or among others)", "manifest_sha256": "bundle"}
PRESENTING = ("include_prime", "normalise", "bits")


def check_places(files: Sequence[Path], *, force: bool, again: bool = True) -> None:
    """Check, before any work is done, that clips and their pages may be written.

    Args:
        files: of the clips.
        force: whether clips of Slash's may be replaced.
        again: whether they may stand there already, for `unfinished` to look at.

    Raises:
        UserError: something else is there.
    """
    for file in files:
        for other in FORMATS:
            if other != file.suffix.lower() and file.with_suffix(other).exists():
                raise UserError(file, f"would take the sidecar of {file.with_suffix(other)}", "choose another `out`")
        check_file_output(file, force=force or (again and _is_there(file)))
        check_file_output(
            sidecar_path(file), force=True, made_by=MADE_BY
        )  # without its clip, a killed process left it


def unfinished(
    bundle: Bundle, engine: Engine, specs: Sequence[ClipSpec], options: RenderOptions, *, force: bool
) -> list[ClipSpec]:
    """Return the specs of a job that are yet to be made, those cut short among them; all of them with `force`.

    Raises:
        UserError: a clip is there that is none of this job.
    """
    missing = []
    for spec in specs:
        if not _is_there(spec.file):
            missing.append(spec)
            continue
        page, wanted = Sidecar.read(sidecar_path(spec.file)), description(bundle, engine, spec, options)
        difference = _difference(page, wanted) or ("end" if options.seconds == inf else None)
        if force:
            missing.append(spec if difference else replace(spec, had=page.seconds))
            continue
        if difference is not None:
            raise UserError(
                spec.file, f"already exists, with another {difference}", "choose another `out` or pass `force`"
            )
        if not page.complete:
            missing.append(replace(spec, had=page.seconds))
    return missing


def _is_there(file: Path) -> bool:
    return file.is_file() and sidecar_path(file).is_file()


def _difference(page: Sidecar, wanted: Sidecar) -> str | None:
    """Say what makes a finished clip another than the one wanted, or None; one cut short may have less."""
    for name in (*DEFINING, *PRESENTING):
        if getattr(page, name) != getattr(wanted, name):
            return NAMES.get(name, name.replace("_", " "))
    if (page.prime and page.prime.sha256) != (wanted.prime and wanted.prime.sha256):
        return "prime"
    same_length = page.seconds == wanted.seconds if page.complete else page.seconds < wanted.seconds
    if not same_length:
        return "length"
    return None
