"""Goes on with a job that was stopped: finished clips stay, those cut short are made whole, all else is refused."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

from slash_infer.audio_files import FORMATS
from slash_infer.bundle import Bundle
from slash_infer.clip_file import page_of
from slash_infer.engine import Engine
from slash_infer.errors import UserError
from slash_infer.files import check_file_output
from slash_infer.render import Piece, Terms, description
from slash_infer.sidecar import MADE_BY, Sidecar

# What a clip is a function of, besides its prime and its length. The same on another engine it is but for rounding.
DEFINING = ("manifest_sha256", "precision", "seed", "clip", "alone", "temperature")
PRESENTING = ("include_prime", "normalise", "bits")


def unfinished(bundle: Bundle, engine: Engine, pieces: Sequence[Piece], terms: Terms, *, force: bool) -> list[Piece]:
    """Return the pieces of a job that are yet to be made, those cut short among them; all of them with `force`.

    Raises:
        UserError: a file is in the way that is no clip of this job, or that `force` may not replace.
    """
    missing = []
    for piece in pieces:
        there = piece.file.is_file() and page_of(piece.file).is_file() and not force
        check_place(piece.file, force=force or there)
        if not there:
            missing.append(piece)
            continue
        page, wanted = Sidecar.read(page_of(piece.file)), description(bundle, engine, piece, terms)
        difference = _difference(page, wanted) or ("end" if terms.seconds == inf else None)
        if difference is not None:
            raise UserError(
                f"{piece.file}: already exists, with another {difference}; choose another --out or pass --force"
            )
        if not page.complete:
            missing.append(piece)
    return missing


def check_place(file: Path, *, force: bool) -> None:
    """Check that a clip and its page may be written there, in place of a clip of Slash's with `force`.

    Raises:
        UserError: they may not.
    """
    for other in FORMATS:
        if other != file.suffix.lower() and file.with_suffix(other).exists():
            raise UserError(f"{file}: would take the sidecar of {file.with_suffix(other)}; choose another --out")
    check_file_output(file, force=force)
    check_file_output(page_of(file), force=True, made_by=MADE_BY)  # without its clip, a killed process left it


def _difference(page: Sidecar, wanted: Sidecar) -> str | None:
    """Say what makes a finished clip another than the one wanted, or None; one cut short may have less."""
    for name in (*DEFINING, *PRESENTING):
        if getattr(page, name) != getattr(wanted, name):
            return name.replace("_", " ")
    if (page.prime and page.prime.sha256) != (wanted.prime and wanted.prime.sha256):
        return "prime"
    same_length = page.seconds == wanted.seconds if page.complete else page.seconds < wanted.seconds
    if not same_length:
        return "length"
    return None
