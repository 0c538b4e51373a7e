"""Makes the gallery: one page, with style and script inside, beside folders of audio and pictures."""

import base64
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path

import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined

from slash_infer._version import __version__
from slash_infer.audio.clip_blocks import CLIP_BYTES, REMEDY
from slash_infer.audio.spectrogram import CARD_PIXELS, LINK_PIXELS, draw_card, draw_link
from slash_infer.files import atomic_directory, open_plain_file, write_json
from slash_infer.gallery.facts import command, facts, faults, summary
from slash_infer.gallery.find import GALLERY_METADATA, Clip, Recording, Row, Section

MADE_BY = "slash gallery"
COPIED_BYTES = 1 << 20  # at a time
LINK = "link.png"
"""The picture that is shown beside a link to the page, where it is published."""


@dataclass(frozen=True)
class Card:
    """A clip on the page, or a recording."""

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
    recorded: bool = False


@dataclass(frozen=True)
class CardRow:
    """Cards beside each other."""

    heading: str | None
    cards: list[Card]


def make_gallery(
    sections: Sequence[Section],
    out: Path,
    title: str,
    advance: Callable[[], None],
    *,
    url: str | None = None,
    force: bool = False,
) -> None:
    """Make the folder `out`, completely or not at all.

    Args:
        sections: the clips to show.
        out: the folder.
        title: of the page.
        advance: called after every clip and recording.
        url: where the folder will be published, if it is known. Links to it are then shown with its picture.
        force: whether an earlier gallery may be replaced.

    Raises:
        UserError: the audio of a clip is damaged.
    """
    with atomic_directory(out, force=force, metadata=GALLERY_METADATA, made_by=MADE_BY) as folder:
        for name in ("audio", "images"):
            (folder / name).mkdir()
        numbers = count(1)
        shown: list[tuple[str, list[CardRow]]] = []
        for section in sections:
            rows = []
            if section.recording is not None:
                rows.append(CardRow(None, [_add_recording(folder, next(numbers), section.recording, section)]))
                advance()
            for row in section.rows:
                cards = []
                for clip in row.clips:
                    cards.append(_add(folder, next(numbers), clip, row, section))
                    advance()
                rows.append(CardRow(row.name and f"{row.name}, step by step", cards))
            shown.append((section.name, rows))
        draw_link(sections[0].rows[0].clips[0].file, folder / LINK, title)
        page = _render(title, shown, url)
        (folder / "index.html").write_text(page, encoding="utf-8", errors="replace")
        write_json(folder / GALLERY_METADATA, {"made_by": MADE_BY, "slash_version": __version__})


def _add_recording(folder: Path, number: int, recording: Recording, section: Section) -> Card:
    """Write a recording and draw its picture."""
    audio, picture = Path("audio", f"{number:04d}.wav"), Path("images", f"{number:04d}.webp")
    soundfile.write(folder / audio, recording.samples, recording.sample_rate, subtype="PCM_16")
    draw_card(folder / audio, folder / picture)
    length = len(recording.samples) / recording.sample_rate
    return Card(
        number=number,
        title=f"{section.name}, a recording",
        label="A recording, to compare with",
        audio=audio.as_posix(),
        picture=picture.as_posix(),
        summary="Held out: the model has not learned from it",
        facts=[("Length", f"{length:.4g} s"), ("Recording", recording.name)],
        faults=[],
        again=None,
        recorded=True,
    )


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


def _render(title: str, sections: Sequence[tuple[str, list[CardRow]]], url: str | None) -> str:
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
        link=LINK if url is None else f"{url.rstrip('/')}/{LINK}",
        link_size=LINK_PIXELS,
        url=url,
        recorded=any(card.recorded for _, rows in sections for row in rows for card in row.cards),
        version=__version__,
    )


def _sha256(text: str) -> str:
    """Hash the content of an element in the form that Content-Security-Policy takes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
