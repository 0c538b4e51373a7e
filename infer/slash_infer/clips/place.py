"""The place of a clip: what was there when a job was planned, so that nothing else is ever replaced."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slash_infer.audio.audio_files import FORMATS
from slash_infer.errors import UserError


@dataclass(frozen=True)
class Place:
    """What was in a clip's place."""

    file: Path
    taken_by: tuple[int, ...] | None
    """What tells that file from others (on network drives, its number may change); None if there was none."""

    @classmethod
    def look(cls, file: Path) -> Self:
        """Look at the place of a clip."""
        try:
            there = file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return cls(file, None)
        return cls(file, (there.st_mode, there.st_size, there.st_mtime_ns))

    @property
    def is_taken(self) -> bool:
        """Whether something was there."""
        return self.taken_by is not None

    def look_again(self) -> Self:
        """Return what is there now: the same, or nothing.

        Raises:
            UserError: something else is there, and is not to be replaced.
        """
        check_sidecar_is_its_own(self.file)
        now = self.look(self.file)
        if now.is_taken and now != self:
            fault = "was changed meanwhile" if self.is_taken else "already exists: it was made meanwhile"
            raise UserError(self.file, fault, "choose another `out`")
        return now


def check_sidecar_is_its_own(file: Path) -> None:
    """Check that no clip in another format has the sidecar that the clip in `file` would have.

    Raises:
        UserError: one has.
    """
    for suffix in FORMATS:
        if suffix != file.suffix.lower() and file.with_suffix(suffix).exists():
            raise UserError(file, f"would take the sidecar of {file.with_suffix(suffix)}", "choose another `out`")
