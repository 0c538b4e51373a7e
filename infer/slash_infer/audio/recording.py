"""Opens recordings of every kind for reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile

from slash_infer.audio.audio_kinds import LIBAV_SUFFIXES, SNDFILE_SUFFIXES, SUFFIXES
from slash_infer.audio.decoder import Decoder, seconds_of
from slash_infer.audio.libav_decoder import LibavDecoder
from slash_infer.audio.limits import RATES, libsndfile_reason
from slash_infer.audio.mpeg import find_frames
from slash_infer.audio.sndfile_decoder import SndfileDecoder
from slash_infer.errors import UserError
from slash_infer.files import open_plain_file

LARGEST = 1 << 42
"""Bytes of the largest file that is read: it is read in blocks, so only its length matters."""
MOST_CHANNELS = 256
MISSED = 0.1
"""Seconds that a recording may lack without a word: lossy formats count their padding in different ways."""
SURELY_MPEG = 5
"""Frames of MPEG audio that must follow one another to be taken for the beginning of a recording."""
ATTEMPTS = 100
"""To find the beginning of MPEG audio after something else."""
_SAMPLE_DUMP = b"\xf0\x7e"  # libsndfile's reader of MIDI sample dumps prints on standard output


@contextmanager
def open_recording(path: Path) -> Iterator[Decoder]:
    """Open a recording for decoding, with libsndfile where it knows the format, and with PyAV elsewhere.

    Raises:
        UserError: it cannot be read, is not audio, holds none, or has a sample rate that no recording has. The body's
            reading raises it, too.
    """
    try:
        if path.is_dir():
            raise UserError(path, "is not readable audio (a folder)", "name a file")
        with open_plain_file(path, "a recording", "name another file", limit=LARGEST) as file:
            size = file.seek(0, 2)
            if size == 0:
                raise UserError(path, "holds no audio (0 bytes)", "remove it")
            file.seek(0)
            if file.read(2) == _SAMPLE_DUMP:
                raise UserError(path, "is a MIDI sample dump, which is not read", "convert it to WAV or FLAC")
            decoder: Decoder
            try:
                decoder = SndfileDecoder(path, file, size)
            except (soundfile.LibsndfileError, TypeError) as error:
                decoder = _other_decoder(path, file, size, error)
            _check(path, decoder)
            yield decoder
    except FileNotFoundError:
        raise UserError(path, "no such file", "check the path") from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check its permissions") from None


def shortfall(decoder: Decoder, frames: int) -> str | None:
    """Say by how much a recording that had `frames` is shorter than its header says; None if it is not."""
    counted = decoder.counted
    if counted is None or counted - frames <= MISSED * decoder.rate:
        return None
    there, said = seconds_of(frames, decoder.rate), seconds_of(counted, decoder.rate)
    return f"shorter than its header says: {there} of {said} s"


def _other_decoder(path: Path, file: BinaryIO, size: int, error: Exception) -> Decoder:
    """Open what libsndfile refused with `error`."""
    suffix = path.suffix.lower()
    found = find_frames(file, 0, size, SURELY_MPEG) if suffix in SNDFILE_SUFFIXES["MP3"] else None
    for _ in range(ATTEMPTS):
        if found is None:
            break
        try:
            return SndfileDecoder(path, file, size, start=found)
        except soundfile.LibsndfileError:
            found = find_frames(file, found + 1, size, SURELY_MPEG)
    try:
        return LibavDecoder(path, file)
    except UserError:
        if suffix in LIBAV_SUFFIXES:
            raise
        if suffix in SUFFIXES:
            raise UserError(
                path, f"is not readable audio ({libsndfile_reason(error)})", "repair or remove it"
            ) from None
        if suffix == ".raw":
            raise UserError(
                path, "is not readable audio (no header says its rate and depth)", "convert it to WAV or FLAC"
            ) from None
        raise UserError(path, "is in a format that is not read", "convert it to WAV or FLAC") from None


def _check(path: Path, decoder: Decoder) -> None:
    if decoder.rate not in RATES:
        raise UserError(
            path,
            f"says that it has a sample rate of {decoder.rate} Hz, and recordings have {RATES[0]} to {RATES[-1]}",
            "repair its header, or remove it",
        )
    if decoder.channels > MOST_CHANNELS:
        raise UserError(
            path, f"has {decoder.channels} channels, and {MOST_CHANNELS} are the most", "mix it down, or remove it"
        )
