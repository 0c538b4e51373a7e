"""Audio files as Slash writes them: WAV, FLAC and OGG, tagged with where they come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from slash_infer._version import __version__
from slash_infer.codec import to_pcm16
from slash_infer.errors import UserError, first_line
from slash_infer.files import atomic_file

Bits = Literal[16, 24, 32]
"""Of a stored sample; 32 is float."""

SUBTYPES: dict[str, dict[int, str]] = {
    ".wav": {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"},
    ".flac": {16: "PCM_16", 24: "PCM_24"},
    ".ogg": {16: "VORBIS"},  # which has no bits: it is what --bits leaves alone
}
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}
WAV_BYTES = 2**32 - 2**16  # that its 32-bit sizes can count, with room for header and tags
AT_ONCE = 1 << 16  # samples: libsndfile's Vorbis encoder dies of some millions
PCM24_SCALE = 2.0**23


@dataclass(frozen=True)
class Tags:
    """What a player shows of a file."""

    title: str
    comment: str


class AudioFile:
    """A mono file being written.

    Args:
        path: what messages call it.
        sink: opened for it.
    """

    def __init__(self, path: Path, sink: soundfile.SoundFile) -> None:
        self._path, self._sink = path, sink
        self.written = 0
        """Samples so far."""

    def write(self, samples: npt.NDArray[np.float32]) -> None:
        """Append samples in [-1, 1], [T].

        Raises:
            UserError: the disk is full, for example.
        """
        try:
            for first in range(0, len(samples), AT_ONCE):
                self._sink.write(_as_stored(samples[first : first + AT_ONCE], self._sink.subtype))
            self.written += len(samples)
        except soundfile.LibsndfileError as error:
            raise UserError(self._path, f"cannot be written ({error.error_string})", "is the disk full?") from None


@contextmanager
def audio_file(path: Path, sample_rate: int, bits: Bits, tags: Tags) -> Iterator[AudioFile]:
    """Write a mono file that appears when the body has ended, whole, or not at all.

    Args:
        path: .wav, .flac or .ogg.
        sample_rate: in Hz.
        bits: of a sample, among those that SUBTYPES has for this kind of file.
        tags: to store in it.

    Raises:
        UserError: it cannot be written there.
    """
    suffix = path.suffix.lower()
    with atomic_file(path) as part:
        try:
            sink = soundfile.SoundFile(
                part,
                "w",
                samplerate=sample_rate,
                channels=1,
                format=FORMATS[suffix],
                subtype=SUBTYPES[suffix][bits],
            )
        except (soundfile.LibsndfileError, UnicodeEncodeError) as error:
            raise UserError(
                f"{str(path)!r}", f"cannot be written ({first_line(error)})", "choose another `out`"
            ) from None
        with sink:
            sink.title, sink.comment, sink.software = tags.title, tags.comment, f"Slash {__version__}"
            file = AudioFile(path, sink)
            yield file
        _check_whole(path, part, file.written)


def _check_whole(path: Path, part: Path, written: int) -> None:
    """Read back how much is there: where the disk fills up at the end, FLAC's encoder does not say so."""
    try:
        there = soundfile.info(part).frames
    except soundfile.LibsndfileError:
        there = 0
    if there != written:
        raise UserError(path, f"cannot be written ({there} of {written} samples arrived)", "is the disk full?")


def most_samples(suffix: str, bits: Bits) -> int | None:
    """Return how many samples fit in a file of a kind, or None where there is no limit to speak of."""
    return WAV_BYTES // (bits // 8) if suffix == ".wav" else None


def _as_stored(samples: npt.NDArray[np.float32], subtype: str) -> npt.NDArray[np.generic]:
    """Return samples as integers where the file holds integers: the nearest, the ends of the range clipped."""
    if subtype == "PCM_16":
        return to_pcm16(samples)
    if subtype == "PCM_24":
        whole = np.clip(np.rint(samples.astype(np.float64) * PCM24_SCALE), -PCM24_SCALE, PCM24_SCALE - 1)
        return whole.astype(np.int32) << 8  # libsndfile takes the upper 24 bits
    return samples
