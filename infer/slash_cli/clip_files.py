"""Which clips a command generates, and where they go."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slash_infer.audio.audio_files import FORMATS, SUBTYPES
from slash_infer.choices import AudioFormat, Bits
from slash_infer.errors import UserError

MAX_CLIPS = 1_000_000
MAX_CANDIDATES = 10_000
STDOUT = Path("-")


@dataclass(frozen=True)
class Destination:
    """Where the audio goes: into files, or, live, to standard output, the speakers or both."""

    path: Path | None
    """The file or folder as the user named it; None for live audio."""
    to_stdout: bool
    raw: bool
    """Whether standard output gets PCM without a WAV header."""
    speaker_seconds: float | None
    """Of audio that is kept ready for the speakers; None without speakers."""

    @property
    def is_live(self) -> bool:
        """Whether no file is written."""
        return self.path is None


def clip_numbers(clips: int, clip: int | None, shard: str | None, best_of: int | None = None) -> list[int]:
    """Return the numbers of the clips to generate.

    Args:
        clips: how many there are, or, with `best_of`, how many are kept.
        clip: the only one to generate.
        shard: `i/n`, the part to generate: every n-th clip, from the i-th on.
        best_of: how many there are to choose from.

    Raises:
        UserError: a number is out of range, or two of them contradict each other.
    """
    if best_of is not None:
        if clip is not None or shard is not None:
            raise UserError("--best-of", "chooses among all clips, so it goes without --clip and --shard")
        if not 1 <= clips <= best_of <= MAX_CANDIDATES:
            raise UserError(f"--best-of {best_of}", f"must be from -n, {clips}, to {MAX_CANDIDATES}")
        return list(range(best_of))
    if not 1 <= clips <= MAX_CLIPS:
        raise UserError(f"-n {clips}", f"must be from 1 to {MAX_CLIPS}")
    if clip is not None:
        if clips != 1 or shard is not None:
            raise UserError("--clip", "makes one clip alone, so it goes without -n and --shard")
        return [clip]
    if shard is None:
        return list(range(clips))
    match = re.fullmatch(r"(\d{1,7})/(\d{1,7})", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {shard}", "must be a part and the number of parts, from 1/4 to 4/4 for example")
    return list(range(int(match[1]) - 1, clips, int(match[2])))


def find_destination(
    out: Path | None, audio_format: AudioFormat | None, speaker_seconds: float | None
) -> Destination:
    """Return where the audio goes.

    Raises:
        UserError: nowhere, or to a terminal.
    """
    if out is None and speaker_seconds is None:
        raise UserError("Missing option '--out'", "name a file, a folder, or - for standard output", "or pass --play")
    to_stdout = out == STDOUT
    if to_stdout and sys.stdout is None:
        raise UserError("--out -", "standard output is closed", "pipe it into a player, | ffplay - for example")
    if to_stdout and sys.stdout.isatty():
        raise UserError(
            "--out -", "would write audio to the terminal", "pipe it into a player, | ffplay - for example"
        )
    return Destination(None if to_stdout else out, to_stdout, audio_format == "raw", speaker_seconds)


def clip_files(
    destination: Destination, numbers: Sequence[int], keep: int | None, audio_format: AudioFormat | None
) -> list[Path]:
    """Return the file that each clip goes to: the path itself, or one in the folder of that path.

    Args:
        destination: where the audio goes. Live audio is called `-`.
        numbers: of the clips.
        keep: how many of them are kept; all by default.
        audio_format: of the files in a folder; WAV by default.

    Raises:
        UserError: the path has a suffix that is not written, or is one file for several clips.
    """
    out = destination.path
    if out is None:
        if audio_format not in (None, "wav", "raw"):
            raise UserError(f"--format {audio_format}", "is for files", "--out - takes wav or raw")
        return [STDOUT for _ in numbers]
    known = ", ".join(FORMATS)
    suffix = out.suffix.lower()
    if audio_format == "raw":
        raise UserError("--format raw", "is for --out -", "choose wav, flac or ogg for files")
    if suffix in FORMATS and not out.is_dir():
        if (keep or len(numbers)) > 1:
            raise UserError(out, f"is one file and {keep or len(numbers)} clips were asked for", "give a folder")
        if audio_format is not None and suffix != f".{audio_format}":
            raise UserError(out, f"is not named as --format {audio_format}", "leave one of them out")
        return [out for _ in numbers]
    if suffix in (".mp3", ".aif", ".aiff", ".m4a", ".opus", ".raw"):
        raise UserError(out, f"{suffix} is not written", f"choose {known}, or a folder")
    if out.exists() and not out.is_dir():
        raise UserError(out, "is a file of another kind", f"choose {known}, or a folder")
    return [out / f"clip-{number:04d}.{audio_format or 'wav'}" for number in numbers]


def stored_bits(bits: int, destination: Destination, files: Sequence[Path]) -> Bits:
    """Return the bits of a sample.

    Raises:
        UserError: no such files are written, or live audio has another number.
    """
    if destination.is_live:
        if bits != 16:
            raise UserError(f"--bits {bits}", "is for files", "--out - has 16")
        return 16
    for suffix in {file.suffix.lower() for file in files}:
        choices = list(SUBTYPES[suffix])
        if bits not in choices:
            raise UserError(f"--bits {bits}", f"a {suffix} file takes {' or '.join(map(str, choices))}")
    match bits:
        case 16 | 24 | 32:
            return bits
    raise UserError(f"--bits {bits}", "must be 16, 24 or 32 (float)")
