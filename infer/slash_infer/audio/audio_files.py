"""Writes audio files: WAV, FLAC and OGG, tagged with their origin."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from typing_extensions import override

from slash_infer._version import __version__
from slash_infer.audio.sinks import Sink
from slash_infer.choices import Bits
from slash_infer.codec import to_pcm16
from slash_infer.errors import Argument, UserError
from slash_infer.files import atomic_file, remedy_for

SUBTYPES: dict[str, dict[int, str]] = {
    ".wav": {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"},
    ".flac": {16: "PCM_16", 24: "PCM_24"},
    ".ogg": {16: "VORBIS"},  # lossy, without a bit depth: listed under the default
}
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}
WAV_BYTES = 2**32 - 2**16  # the most that 32-bit sizes can count, less room for header and tags
SAMPLES_PER_WRITE = 1 << 16  # libsndfile's Vorbis encoder crashes on some millions at once
PROBE = 1 << 20  # bytes
PCM24_SCALE = 2.0**23


@dataclass(frozen=True)
class Tags:
    """What a music player shows about a file."""

    title: str
    comment: str


class AudioFile(Sink):
    """A mono file being written. `write` raises UserError if it cannot, because the disk is full for example.

    Args:
        path: for messages.
        file: opened for writing.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile) -> None:
        self._path, self._file = path, file
        self.written = 0
        """Samples so far."""

    @override
    def write(self, samples: npt.NDArray[np.float32]) -> None:
        try:
            for first in range(0, len(samples), SAMPLES_PER_WRITE):
                self._file.write(_as_stored(samples[first : first + SAMPLES_PER_WRITE], self._file.subtype))
            self.written += len(samples)
        except soundfile.LibsndfileError as error:
            raise _fault(self._path, Path(os.fsdecode(self._file.name)), error.error_string) from None


@contextmanager
def audio_file(path: Path, sample_rate: int, bits: Bits, tags: Tags, *, force: bool = False) -> Iterator[AudioFile]:
    """Write a mono file, which appears when the body has ended, complete, or not at all.

    Args:
        path: .wav, .flac or .ogg.
        sample_rate: in Hz.
        bits: of a sample, one of those that SUBTYPES has for the suffix.
        tags: stored in the file.
        force: whether a file that is there may be replaced.

    Raises:
        UserError: it cannot be written there.
    """
    suffix = path.suffix.lower()
    with atomic_file(path, force=force) as part:
        try:
            opened = soundfile.SoundFile(
                os.fsencode(part),  # bytes: the name may not be valid in the locale's encoding
                "w",
                samplerate=sample_rate,
                channels=1,
                format=FORMATS[suffix],
                subtype=SUBTYPES[suffix][bits],
            )
        except soundfile.LibsndfileError as error:
            raise _fault(path, part, error.error_string) from None
        with opened:
            opened.title, opened.comment, opened.software = tags.title, tags.comment, f"Slash {__version__}"
            file = AudioFile(path, opened)
            yield file
        _check_complete(path, part, file.written)


def _check_complete(path: Path, part: Path, written: int) -> None:
    """Check that every sample arrived: if the disk fills up at the end, the FLAC encoder reports no error."""
    try:
        there = soundfile.info(os.fsencode(part)).frames
    except soundfile.LibsndfileError:
        there = 0
    if there != written:
        raise _fault(path, part, f"{there} of {written} samples arrived")


def _fault(path: Path, part: Path, otherwise: str) -> UserError:
    """Return why a file cannot be written. libsndfile keeps the system's reason to itself: another write tells it.

    Args:
        path: of the file.
        part: where it is being written.
        otherwise: what is wrong if that write works.
    """
    try:
        with part.open("ab") as file:
            file.write(bytes(PROBE))
    except OSError as error:
        return UserError(path, f"cannot be written ({error.strerror})", remedy_for(error))
    return UserError(path, f"cannot be written ({otherwise})", "is the disk full?")


def most_samples(suffix: str, bits: Bits) -> int | None:
    """Return how many samples fit in a file with this suffix; None if there is no practical limit.

    Raises:
        UserError: no such files are written, or not with so many bits.
    """
    choices = SUBTYPES.get(suffix.lower())
    if choices is None:
        raise UserError(suffix, "is not written", f"choose {', '.join(SUBTYPES)}")
    if bits not in choices:
        raise UserError(Argument("bits", bits), f"a {suffix} file takes {' or '.join(map(str, choices))}")
    return WAV_BYTES // (bits // 8) if suffix == ".wav" else None


def _as_stored(samples: npt.NDArray[np.float32], subtype: str) -> npt.NDArray[np.generic]:
    """Return samples as the file stores them: integers are rounded to the nearest and clipped to the range."""
    if subtype == "PCM_16":
        return to_pcm16(samples)
    if subtype == "PCM_24":
        integers = np.clip(np.rint(samples.astype(np.float64) * PCM24_SCALE), -PCM24_SCALE, PCM24_SCALE - 1)
        return integers.astype(np.int32) << 8  # libsndfile takes the upper 24 bits
    return samples
