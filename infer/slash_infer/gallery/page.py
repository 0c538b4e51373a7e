"""Makes the gallery: one page, with style and script inside, beside folders of audio and pictures."""

import base64
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from slash_infer._version import __version__
from slash_infer.audio.clip_blocks import CLIP_BYTES, REMEDY
from slash_infer.audio.spectrogram import CARD_PIXELS, draw_card
from slash_infer.files import atomic_directory, open_plain_file, write_json
from slash_infer.gallery.facts import command, facts, faults, summary
from slash_infer.gallery.find import GALLERY_METADATA, Clip, Row, Section

MADE_BY = "slash gallery"
COPIED_BYTES = 1 << 20  # at a time


@dataclass(frozen=True)
class Card:
    """A clip on the page."""

    number: int
    """Counted from 1 over the whole page."""
    title: str
    """Unique on the page."""
    label: str
    """Unique in its row."""
    audio: str
    """Path of the audio file, relative to the page."""
    picture: str
    """Path of the picture, relative to the page."""
    summary: str
    facts: list[tuple[str, str]]
    faults: list[str]
    again: str | None
    """The command that makes the clip again."""


def make_gallery(
    sections: Sequence[Section], out: Path, title: str, advance: Callable[[], None], *, force: bool = False
) -> None:
    """Make the folder `out`, completely or not at all.

    Args:
        sections: the clips to show.
        out: the folder.
        title: of the page.
        advance: called after every clip.
        force: whether an earlier gallery may be replaced.

    Raises:
        UserError: the audio of a clip is damaged.
    """
    with atomic_directory(out, force=force, metadata=GALLERY_METADATA, made_by=MADE_BY) as folder:
        for name in ("audio", "images"):
            (folder / name).mkdir()
        numbers = count(1)
        shown = []
        for section in sections:
            rows = []
            for row in section.rows:
                cards = []
                for clip in row.clips:
                    cards.append(_add(folder, next(numbers), clip, row, section))
                    advance()
                rows.append((row.name, cards))
            shown.append((section.name, rows))
        (folder / "index.html").write_text(_render(title, shown), encoding="utf-8", errors="replace")
        write_json(folder / GALLERY_METADATA, {"made_by": MADE_BY, "slash_version": __version__})


def _add(folder: Path, number: int, clip: Clip, row: Row, section: Section) -> Card:
    """Copy a clip's audio and draw its picture, under names that do not depend on the clip's own."""
    audio = Path("audio", f"{number:04d}{clip.file.suffix.lower()}")
    picture = Path("images", f"{number:04d}.webp")
    draw_card(clip.file, folder / picture)
    with (
        open_plain_file(clip.file, "a clip", REMEDY, limit=CLIP_BYTES) as source,
        (folder / audio).open("wb") as target,
    ):
        shutil.copyfileobj(source, target, COPIED_BYTES)
    step = f"step {clip.step:,}"
    called = clip.name if section.by_name else f"Clip {clip.number}"
    within = (row.name.lower(), step) if row.name else (called if section.by_name else called.lower(),)
    return Card(
        number=number,
        title=", ".join((section.name, *within)),
        label=step.capitalize() if row.name else called,
        audio=audio.as_posix(),
        picture=picture.as_posix(),
        summary=summary(clip),
        facts=facts(clip),
        faults=faults(clip),
        again=command(clip),
    )


def _render(title: str, sections: Sequence[tuple[str, list[tuple[str | None, list[Card]]]]]) -> str:
    """Fill in the template. All text is escaped; style and script, which are not, are allowed by their hashes."""
    templates = Environment(
        loader=PackageLoader("slash_infer", "gallery"), autoescape=True, undefined=StrictUndefined
    )
    templates.trim_blocks = templates.lstrip_blocks = True
    style, script = (
        (resources.files("slash_infer.gallery") / name).read_text(encoding="utf-8")
        for name in ("style.css", "script.js")
    )
    return templates.get_template("page.html").render(
        title=title,
        sections=sections,
        style=style,
        script=script,
        style_hash=_sha256(style),
        script_hash=_sha256(script),
        picture_size=CARD_PIXELS,
        version=__version__,
    )


def _sha256(text: str) -> str:
    """Hash the content of an element in the form that Content-Security-Policy takes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
