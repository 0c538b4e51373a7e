"""Which clips a command makes, and the files they go to."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

from slash_infer.errors import UserError

MAX_CLIPS = 1_000_000
MAX_CANDIDATES = 10_000
STDOUT = Path("-")


class Format(StrEnum):
    """Kinds of audio."""

    wav = "wav"
    flac = "flac"
    ogg = "ogg"
    raw = "raw"


def clip_numbers(clips: int, clip: int | None, shard: str | None) -> list[int]:
    """Return the numbers of the clips to make.

    Args:
        clips: how many there are in all.
        clip: the one to make alone, when it is said.
        shard: `i/n`, the part of them to make: every n-th, from the i-th on.

    Raises:
        UserError: a number is out of range, or two of them contradict each other.
    """
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


def clip_files(out: Path, numbers: Sequence[int], keep: int | None, audio_format: Format | None) -> list[Path]:
    """Return the file that each clip goes to: `out` itself, or one in the folder `out`.

    Args:
        out: a file, or a folder.
        numbers: of the clips.
        keep: how many of them are kept; all when not said.
        audio_format: of the files in a folder; WAV when not said.

    Raises:
        UserError: `out` names a kind of file that is not written, or one file for several clips.
    """
    from slash_infer.audio.audio_files import FORMATS

    known = ", ".join(FORMATS)
    suffix = out.suffix.lower()
    if audio_format is Format.raw:
        raise UserError("--format raw", "is for --out -", "choose wav, flac or ogg for files")
    if suffix in FORMATS and not out.is_dir():
        if (keep or len(numbers)) > 1:
            raise UserError(out, f"is one file and {keep or len(numbers)} clips were asked for", "give a folder")
        if audio_format is not None and suffix != f".{audio_format.value}":
            raise UserError(out, f"is not named as --format {audio_format.value}", "leave one of them out")
        return [out for _ in numbers]
    if suffix in (".mp3", ".aif", ".aiff", ".m4a", ".opus", ".raw"):
        raise UserError(out, f"{suffix} is not written", f"choose {known}, or a folder")
    if out.exists() and not out.is_dir():
        raise UserError(out, "is a file of another kind", f"choose {known}, or a folder")
    return [out / f"clip-{number:04d}.{(audio_format or Format.wav).value}" for number in numbers]


def check_bits(bits: int, files: Sequence[Path]) -> Literal[16, 24, 32]:
    """Return the bits of a sample in these files.

    Raises:
        UserError: no such files are written.
    """
    from slash_infer.audio.audio_files import SUBTYPES

    for suffix in {file.suffix.lower() for file in files}:
        had = list(SUBTYPES[suffix])
        if bits not in had:
            raise UserError(f"--bits {bits}", f"a {suffix} file takes {' or '.join(map(str, had))}")
    match bits:
        case 16 | 24 | 32:
            return bits
    raise UserError(f"--bits {bits}", "must be 16, 24 or 32 (float)")
