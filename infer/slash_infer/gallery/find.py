"""Finds the clips in folders made by Slash, and puts them in listening order."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slash_infer.audio.audio_files import FORMATS
from slash_infer.clips.sidecar import MADE_BY, REMEDY, SIDECAR_LIMIT, Sidecar, sidecar_path
from slash_infer.errors import UserError
from slash_infer.files import check_exists, read_json, real_path

GALLERY_METADATA = "gallery.json"  # a folder that holds it is a gallery
RUN_METADATA = "run.json"  # a folder that holds it is a training run
PREVIEWS = "previews"  # the folder of a training run that holds its clips
FILES = "files"  # the section of those that were given one by one


@dataclass(frozen=True)
class Clip:
    """An audio file and its sidecar."""

    file: Path
    name: str
    """Path of the file, relative to the folder that was searched."""
    sidecar: Sidecar

    @property
    def seed(self) -> int:
        """The seed it was drawn with."""
        return self.sidecar.recipe.seed

    @property
    def number(self) -> int:
        """Its clip number, which chooses the random draws together with the seed."""
        return self.sidecar.recipe.clip

    @property
    def step(self) -> int:
        """Training step of the checkpoint that made it."""
        return self.sidecar.provenance.step


@dataclass(frozen=True)
class Recording:
    """A stretch of a recording, to compare clips with."""

    name: str
    samples: npt.NDArray[np.int16]
    """[T], mono."""
    sample_rate: int
    """In Hz."""


@dataclass(frozen=True)
class Row:
    """Clips to hear one after another: those of one folder, or the same clip at every step of a training run."""

    name: str | None
    """None if the row is the only one of its section."""
    clips: list[Clip]


@dataclass(frozen=True)
class Section:
    """The clips found in one folder."""

    name: str
    rows: list[Row]
    left_out: int
    """How many audio files are not clips made by Slash."""
    by_name: bool = False
    """Whether clips are called by their files' names rather than by their numbers, which may be the same."""
    recording: Recording | None = None
    """One that the model has not learned from, if there is one."""


def _none(_: Path) -> None:
    return None


def find_sections(sources: Sequence[Path], recording_of: Callable[[Path], Recording | None] = _none) -> list[Section]:
    """Find clips: a section for each folder, of clips, a training run or an audition, and first one for all files.

    Args:
        sources: files and folders.
        recording_of: returns a recording to compare the clips of a training run with, from the run's folder.

    Raises:
        UserError: a source is missing or given twice, a file is no clip, a folder has none, or a clip's sidecar is
            damaged.
    """
    places = [real_path(source) for source in sources]
    for place, source in zip(places, sources, strict=True):
        check_exists(source)
        if places.count(place) > 1:
            raise UserError(source, "was given twice", "give it once")
    files = [source for source in sources if not source.is_dir()]
    folders = [source for source in sources if source.is_dir()]
    for file in files:
        for folder in folders:
            if real_path(file).is_relative_to(real_path(folder)):
                raise UserError(file, f"is inside {folder}, which was given, too", "give it once")
    names = _names([*([Path(FILES)] if files else []), *map(real_path, folders)])
    of_files = [_section_of_files(files, names.pop(0))] if files else []
    return of_files + [_section(folder, name, recording_of) for folder, name in zip(folders, names, strict=True)]


def count_clips(sections: Sequence[Section]) -> int:
    """Return how many clips there are in all sections."""
    return sum(len(row.clips) for section in sections for row in section.rows)


def count_recordings(sections: Sequence[Section]) -> int:
    """Return how many recordings there are to compare them with."""
    return sum(section.recording is not None for section in sections)


def _section_of_files(files: Sequence[Path], name: str) -> Section:
    """Return the clips in the order in which they were given."""
    clips = []
    for file, called in zip(files, _names([real_path(file) for file in files]), strict=True):
        sidecar = sidecar_of(file) if file.suffix.lower() in FORMATS else None
        if sidecar is None:
            raise UserError(
                file, "is not a clip of slash generate, with its sidecar", "give clips, or folders of them"
            )
        clips.append(Clip(file, called, sidecar))
    return Section(name, [Row(None, clips)], left_out=0, by_name=True)


def _section(folder: Path, name: str, recording_of: Callable[[Path], Recording | None]) -> Section:
    audio = list(audio_files(folder))
    clips = [
        Clip(file, file.relative_to(folder).as_posix(), sidecar)
        for file in audio
        if (sidecar := sidecar_of(file)) is not None
    ]
    if not clips:
        raise UserError(folder, "holds no clips of slash generate", "give a folder of clips, a run or an audition")
    recording = recording_of(folder) if (folder / RUN_METADATA).exists() else None
    return Section(name, _rows(clips), left_out=len(audio) - len(clips), recording=recording)


def audio_files(folder: Path) -> Iterator[Path]:
    """Yield the audio files in `folder` and below. Of a training run, only previews; of a gallery, none."""
    for place, inner, files in os.walk(folder, onerror=_reraise):  # it does not follow symlinks
        inner.sort()
        if GALLERY_METADATA in files:
            inner.clear()
        elif RUN_METADATA in files:
            inner[:] = [name for name in inner if name == PREVIEWS]
        else:
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from (path for name in sorted(files) if (path := Path(place, name)).suffix.lower() in FORMATS)


def _reraise(error: OSError) -> None:
    raise error


def sidecar_of(file: Path) -> Sidecar | None:
    """Return the sidecar of an audio file, or None if the file is not a clip made by Slash."""
    path = sidecar_path(file)
    if not (_is_plain(file) and _is_plain(path)):
        return None
    if read_json(path, "a clip's sidecar", REMEDY, limit=SIDECAR_LIMIT).get("made_by") != MADE_BY:
        return None
    return Sidecar.read(path)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _rows(clips: Sequence[Clip]) -> list[Row]:
    """Return one row if all clips have the same training step; else a row for each clip, its steps in order.

    Clips of one step that all have a score, as those of best-of, come in the order of their scores.
    """
    if len({clip.step for clip in clips}) == 1:
        scores = [measures.score for clip in clips if (measures := clip.sidecar.outcome.measures) is not None]
        ranks = scores if len(scores) == len(clips) else [0.0] * len(clips)
        ranked = sorted(zip(clips, ranks, strict=True), key=lambda one: (-one[1], *_identity(one[0]), one[0].name))
        return [Row(None, [clip for clip, _ in ranked])]
    seeds = {clip.seed for clip in clips}
    in_order = sorted(clips, key=lambda clip: (*_identity(clip), clip.step, clip.name))
    return [
        Row(f"Clip {number}" if len(seeds) == 1 else f"Seed {seed}, clip {number}", list(over_time))
        for (seed, number), over_time in groupby(in_order, _identity)
    ]


def _identity(clip: Clip) -> tuple[int, int]:
    """Return what identifies a clip across training steps."""
    return clip.seed, clip.number


def _names(places: Sequence[Path]) -> list[str]:
    """Name every folder by the last parts of its path, as many as make all names different."""
    names = [place.name for place in places]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(place.parts[-depth:]) for place in places]
    return [name or "/" for name in names]
