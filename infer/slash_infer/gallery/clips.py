"""Finds the clips in folders that Slash made, and puts them in the order to hear them in."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from slash_infer.audio.audio_files import FORMATS
from slash_infer.clips.sidecar import MADE_BY, Sidecar
from slash_infer.errors import UserError
from slash_infer.files import read_json

GALLERY_PAGE = "gallery.json"  # a folder that has it is a gallery
RUN_PAGE = "run.json"  # a folder that has it is a training run


@dataclass(frozen=True)
class Clip:
    """An audio file and its page."""

    file: Path
    name: str
    """Where it lies in the folder it was found in."""
    page: Sidecar


@dataclass(frozen=True)
class Row:
    """Clips that belong one after another: those of one folder, or the same clip at every step of a training."""

    name: str | None
    """None where a section is one row."""
    clips: list[Clip]


@dataclass(frozen=True)
class Section:
    """What was found in one folder."""

    name: str
    rows: list[Row]
    left_out: int
    """Audio files that are not clips of Slash."""


def find_sections(folders: Sequence[Path]) -> list[Section]:
    """Find the clips in each of `folders`: folders of clips, training runs, auditions.

    Raises:
        UserError: a folder is missing or given twice or has no clips, or the page of a clip is damaged.
    """
    places = [folder.resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if not folder.is_dir():
            raise UserError(folder, "is not a folder", "give folders of clips, training runs or auditions")
        if places.count(place) > 1:
            raise UserError(folder, "was given twice", "give it once")
    return [_section(folder, name) for folder, name in zip(folders, _names(places), strict=True)]


def _section(folder: Path, name: str) -> Section:
    audio = list(_audio_files(folder))
    clips = [
        Clip(file, file.relative_to(folder).as_posix(), page) for file in audio if (page := _page(file)) is not None
    ]
    if not clips:
        raise UserError(folder, "holds no clips of slash generate", "give a folder of clips, a run or an audition")
    return Section(name, _rows(clips), left_out=len(audio) - len(clips))


def _audio_files(folder: Path) -> Iterator[Path]:
    """Yield the audio files in and under `folder`: of runs, their samples alone; of galleries, none."""
    for place, inner, files in os.walk(folder, onerror=_refuse):  # which follows no symlinks
        inner.sort()
        if GALLERY_PAGE in files:
            inner.clear()
        elif RUN_PAGE in files:
            inner[:] = [name for name in inner if name == "samples"]
        else:
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from (path for name in sorted(files) if (path := Path(place, name)).suffix.lower() in FORMATS)


def _refuse(error: OSError) -> None:
    raise error


def _page(file: Path) -> Sidecar | None:
    """Return the page of the clip in `file`; None where it is not a clip of Slash."""
    path = file.with_suffix(".json")
    if not (_is_plain(file) and _is_plain(path)):
        return None
    try:
        if read_json(path, "a clip's page").get("made_by") != MADE_BY:
            return None
        return Sidecar.read(path)
    except UserError as error:
        raise UserError(f"{error}; make the clip again or move both files away") from None


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _rows(clips: Sequence[Clip]) -> list[Row]:
    """Put clips of several steps into a row for each clip, step by step; others into one row."""
    pages = [clip.page for clip in clips]
    if len({page.provenance.step for page in pages}) == 1:
        return [Row(None, sorted(clips, key=lambda clip: (*_same_clip(clip), clip.name)))]
    seeds = {page.seed for page in pages}
    in_order = sorted(clips, key=lambda clip: (*_same_clip(clip), clip.page.provenance.step, clip.name))
    return [
        Row(f"Clip {number}" if len(seeds) == 1 else f"Seed {seed}, clip {number}", list(over_time))
        for (seed, number), over_time in groupby(in_order, _same_clip)
    ]


def _same_clip(clip: Clip) -> tuple[int, int]:
    """Return what stays the same from step to step."""
    return clip.page.seed, clip.page.clip


def _names(places: Sequence[Path]) -> list[str]:
    """Call every folder by its name, with as much of the path before it as tells all of them apart."""
    names = [place.name for place in places]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(place.parts[-depth:]) for place in places]
    return [name or "/" for name in names]
