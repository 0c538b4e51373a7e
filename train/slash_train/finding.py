"""Finds recordings in files and folders, and accounts for everything else that is there."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slash_infer.audio.audio_kinds import SNIFFED, SUFFIXES, sounds
from slash_infer.errors import UserError
from slash_infer.files import open_plain_file, real_path


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that does not go into the corpus."""

    path: Path
    why: str


@dataclass
class Found:
    """What is in the sources."""

    recordings: list[Path] = field(default_factory=list)
    """In the order of the sources; those in and under a folder sorted by path."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What is no recording, or is one that was found already."""
    faults: list[UserError] = field(default_factory=list)
    """What may be a recording, or hold some, and cannot be read."""


def find_recordings(sources: Sequence[Path]) -> Found:
    """Find the recordings in `sources`: files as given, and those in and under folders.

    In folders, files count whose names end like those of recordings, and others that begin like one. Hidden files are
    left out (macOS writes `._take1.wav` beside `take1.wav` on shared disks). Links to folders are followed. A file
    that is named twice is returned once: else it could end up in two splits.

    Raises:
        UserError: a source does not exist, or there is nothing that could be a recording.
    """
    found = Found()
    files: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            inside = _Search(source, found).recordings()
        elif os.path.lexists(source):
            inside = [source]
        else:
            raise UserError(source, "no such file or folder", "check the path")
        for path in inside:
            first = files.setdefault(real_path(path), path)
            if first is not path:
                found.left_out.append(LeftOut(path, f"the same file as {first}"))
    found.recordings = list(files.values())
    if not found.recordings and not found.faults:
        raise UserError(
            sources[0], "holds no recordings", "put WAV, FLAC, OGG or MP3 files there or name another folder"
        )
    return found


class _Search:
    """Searches one folder."""

    def __init__(self, source: Path, found: Found) -> None:
        self._source, self._found = source, found
        self._folders: dict[Path, Path] = {}
        self._links: list[Path] = []

    def recordings(self) -> list[Path]:
        """Return the recordings in and under the folder, sorted."""
        files = [path for path in self._everything() if self._is_recording(path)]
        return [self._source / path for path in sorted(path.relative_to(self._source) for path in files)]

    def _everything(self) -> Iterator[Path]:
        """Yield all files, those under real folders before those under links, which may lead to the same ones."""
        folders, self._links = [self._source], []
        while folders or self._links:
            yield from self._inside(folders.pop() if folders else self._links.pop(0), folders)

    def _inside(self, folder: Path, folders: list[Path]) -> Iterator[Path]:
        """Yield the files in a folder, and add the folders in it to `folders`; note what is not entered."""
        first = self._folders.setdefault(real_path(folder), folder)
        if first is not folder:
            self._leave_out(folder, f"the same folder as {first}")
            return
        try:
            entries = sorted(folder.iterdir())
            os.stat(f"{folder}/.")  # noqa: PTH116  # the right to list a folder is not yet that to look inside
        except OSError as error:
            self._found.faults.append(
                UserError(folder, f"cannot be searched ({error.strerror})", "check its permissions")
            )
            return
        inner: list[Path] = []
        for path in entries:
            if path.name.startswith("."):
                self._leave_out(path, "hidden")
            elif path.is_dir() and path.is_symlink():
                self._links.append(path)
            elif path.is_dir():
                inner.append(path)
            else:
                yield path
        folders += reversed(inner)

    def _is_recording(self, path: Path) -> bool:
        """Return whether a file is to be decoded; note it if it is not."""
        named_so = path.suffix.lower() in SUFFIXES
        try:
            plain = stat.S_ISREG(path.stat().st_mode)
        except OSError:  # a link to nowhere, or in a circle
            plain = False
        if named_so:
            return True  # what is wrong with it is found when it is opened
        if not plain:
            self._leave_out(path, "not a plain file")
            return False
        try:
            with open_plain_file(path, "a recording", "remove it", limit=1 << 62) as file:
                is_recording = sounds(file.read(SNIFFED))
        except (OSError, UserError):
            self._leave_out(path, "not audio by its name, and unreadable")
            return False
        if not is_recording:
            self._leave_out(path, "not audio")
        return is_recording

    def _leave_out(self, path: Path, why: str) -> None:
        self._found.left_out.append(LeftOut(path, why))


def together(faults: Sequence[UserError]) -> UserError:
    """Return the faults of several files as one error that names them all."""
    go_on = "pass `skip_bad` to go on without"
    if len(faults) == 1:
        (fault,) = faults
        return UserError(fault.subject, fault.fault, f"{fault.remedy or 'remove it'}, or {go_on} it")
    alike: dict[tuple[str, str | None], list[str]] = {}
    for fault in faults:
        alike.setdefault((fault.fault, fault.remedy), []).append(str(fault.subject))
    parts = [
        f"{', '.join(names)}: {fault}" + (f" ({remedy})" if remedy else "")
        for (fault, remedy), names in alike.items()
    ]
    return UserError(None, f"{len(faults)} files cannot be used: {'; '.join(parts)}", f"or {go_on} them")
