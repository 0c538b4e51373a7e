"""Finds recordings on disk and decodes them block by block, to mono at the target sample rate."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from slash_infer.errors import UserError
from slash_train.choices import Channel

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
BLOCK_FRAMES = 1 << 16  # decoded at a time, which bounds the memory however long the file is
ABSURD = 1e6  # times full scale: float formats allow it, but no recording is that loud
FULL_SCALE = 32767 / 32768  # from here on a sample counts as clipped: the end of the 16-bit range


def find_recordings(sources: Sequence[Path]) -> list[Path]:
    """Return the audio files in `sources`: files as given, and those in and under folders, sorted by path.

    Hidden files are left out (macOS writes `._take1.wav` beside `take1.wav` on shared disks), and a file that is
    named twice is returned once.

    Raises:
        UserError: a source does not exist, or nothing was found.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            inside = (path.relative_to(source) for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
            visible = sorted(path for path in inside if not any(part.startswith(".") for part in path.parts))
            files = [source / path for path in visible if (source / path).is_file()]
        elif source.is_file():
            files = [source]
        else:
            raise UserError(source, "no such file or folder", "check the path")
        for file in files:
            found.setdefault(file.resolve(), file)  # the same file twice could end up in two splits
    if not found:
        kinds = ", ".join(sorted(suffix[1:].upper() for suffix in SUFFIXES))
        raise UserError(sources[0], "holds no recordings", f"put {kinds} files there or name another folder")
    return list(found.values())


@dataclass
class SourceStats:
    """Facts about a file, filled in while it is decoded."""

    frames: int = 0
    """Sample frames decoded so far, at the file's own rate."""
    rate: int = 0
    """Sample rate of the file in Hz."""
    clipped: int = 0
    """Samples at full scale, over all channels."""


def decode(path: Path, sample_rate: int, channel: Channel, stats: SourceStats) -> Iterator[npt.NDArray[np.float32]]:
    """Yield `path` as mono float32 blocks [n] at `sample_rate` Hz (soxr, high quality).

    Args:
        path: WAV, FLAC, OGG, MP3 or anything else libsndfile reads, at any rate, depth and channel count.
        sample_rate: the target rate in Hz.
        channel: `mix` averages all channels; `left` and `right` take the first and the second.
        stats: filled in while the file is decoded.

    Raises:
        UserError: the file is not audio, damaged or empty, holds numbers that are not finite, or lacks the right
            channel asked for.
    """
    try:
        path.open("rb").close()  # raises OSError with a reason, which libsndfile does not give
        with soundfile.SoundFile(os.fsencode(path)) as file:  # bytes: the name may not be valid UTF-8
            stats.rate = file.samplerate
            if channel == "right" and file.channels < 2:
                raise UserError(path, "is mono and has no right channel", "use `channel` mix or left")
            resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32")
            while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                mono = _one_channel(block, channel)
                if not np.abs(mono).max() < ABSURD:  # catches NaN, too
                    raise UserError(path, "holds samples that are not finite, or absurd", "repair or remove it")
                stats.frames += len(block)
                stats.clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
                yield resampler.resample_chunk(mono)
            if stats.frames == 0:
                raise UserError(path, "holds no audio", "remove it")
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    except soundfile.LibsndfileError as error:
        raise UserError(path, f"is not readable audio ({error.error_string})", "repair or remove it") from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check its permissions") from None


def _one_channel(block: npt.NDArray[np.float32], channel: Channel) -> npt.NDArray[np.float32]:
    """Reduce samples [n, channels] to one channel, [n]."""
    if channel == "mix":
        return np.asarray(np.mean(block, axis=1), np.float32)
    return np.ascontiguousarray(block[:, 0 if channel == "left" else 1])
