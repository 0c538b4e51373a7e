"""Recordings to continue: any rate, any channels, a part of them, as the model hears them."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.bundle import Bundle
from slash_infer.clips.primes import read_prime
from slash_infer.errors import UserError

RATE = 48_000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)


@pytest.fixture(name="riff")
def _riff(tmp_path: Path) -> Path:
    """Two seconds at 48 kHz, the tone on the left alone."""
    path = tmp_path / "riff.wav"
    soundfile.write(path, np.stack([TONE, 0 * TONE], axis=1), RATE, subtype="PCM_24")
    return path


def test_it_is_brought_to_the_bundles_rate_and_codec(bundle: Bundle, riff: Path) -> None:
    prime = read_prime(riff, bundle.manifest)
    assert len(prime.samples) == 32_000 and prime.source.seconds == 2.0
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert np.abs(prime.samples - expected)[100:-100].max() < 0.01  # the codec's steps
    codec = bundle.manifest.codec
    assert np.array_equal(codec.decode(codec.encode(prime.samples)), prime.samples)


def test_a_part_of_it_is_taken(bundle: Bundle, riff: Path) -> None:
    prime = read_prime(riff, bundle.manifest, start=0.5, seconds=1.0)
    assert len(prime.samples) == 16_000 and (prime.source.start, prime.source.seconds) == (0.5, 1.0)
    again = read_prime(riff, bundle.manifest, start=0.5, seconds=1.0)
    other = read_prime(riff, bundle.manifest, start=0.51, seconds=1.0)
    assert prime.sha256 == again.sha256 != other.sha256


def test_what_it_says_it_took_is_taken_again(bundle: Bundle, tmp_path: Path) -> None:
    """The sidecar's numbers, given back, mean the same part of the recording."""
    path = tmp_path / "odd.flac"
    soundfile.write(path, TONE[:44_101], 44_100)
    prime = read_prime(path, bundle.manifest, start=0.1234)
    again = read_prime(path, bundle.manifest, prime.source.start, prime.source.seconds)
    assert again.sha256 == prime.sha256


@pytest.mark.parametrize("samples", [30_000, 50_002, 50_003])
def test_the_same_part_is_heard_again_at_any_rate(bundle: Bundle, tmp_path: Path, samples: int) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, TONE[:samples], 44_100)
    prime = read_prime(path, bundle.manifest)
    start, seconds = prime.source.start, prime.source.seconds
    assert read_prime(path, bundle.manifest, start, seconds).sha256 == prime.sha256


def test_a_prime_that_was_cut_off_is_taken_only_as_far_as_asked_for(bundle: Bundle, riff: Path) -> None:
    data = riff.read_bytes()
    riff.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        UserError, match=r"is shorter than its header says: 1.0 of 2.0 s; repair it, or pass `prime_sec"
    ):
        read_prime(riff, bundle.manifest)
    assert read_prime(riff, bundle.manifest, seconds=0.9).source.seconds == 0.9


def test_a_recorder_that_lost_power_made_a_prime(bundle: Bundle, riff: Path) -> None:
    whole = read_prime(riff, bundle.manifest)
    data = riff.read_bytes()
    size = data.index(b"data") + 4
    riff.write_bytes(data[:size] + bytes(4) + data[size + 4 :])
    assert read_prime(riff, bundle.manifest).sha256 == whole.sha256


def test_a_pipe_is_no_prime(bundle: Bundle, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"`prime` .*a\.wav: cannot be read as a recording \(not a plain file\)"):
        read_prime(tmp_path / "a.wav", bundle.manifest)


def test_real_recordings_of_every_kind(bundle: Bundle, shared_audio: Path) -> None:
    for path in sorted((shared_audio / "mixed").iterdir()):
        assert read_prime(path, bundle.manifest, seconds=0.2).source.seconds == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize(
    ("start", "seconds", "says"),
    [
        (-0.1, None, "choose from 0 to less than that"),
        (2.0, None, "is 2.00 s long"),
        (float("nan"), None, "`prime_start` nan"),
        (float("inf"), None, "`prime_start` inf"),
        (1e300, None, "`prime_start` 1e"),
        (0.0, 0.0, "must be over 0 and at most 2.00"),
        (1.5, 0.6, "must be over 0 and at most 0.50"),
        (0.0, float("nan"), "must be over 0"),
        (0.0, -1.0, "must be over 0"),
        (0.0, float("inf"), "must be over 0"),
    ],
)
def test_parts_that_are_not_there_are_refused(
    bundle: Bundle, riff: Path, start: float, seconds: float | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        read_prime(riff, bundle.manifest, start, seconds)


def test_what_is_no_audio_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "point.wav", np.zeros(1), 192_000)
    (tmp_path / "headerless.raw").write_bytes(bytes(100))
    for name, says in (
        ("text.wav", "is not readable audio"),
        ("nan.wav", "not finite"),
        ("empty.wav", "is 0.00 s long"),
        ("missing.wav", "no such file"),
        ("point.wav", "is shorter than a sample at 16000 Hz"),
        ("headerless.raw", "is not readable audio"),
    ):
        with pytest.raises(UserError, match=says):
            read_prime(tmp_path / name, bundle.manifest)


def test_a_prime_with_a_name_that_no_file_can_have_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UserError, match=r"x: cannot be read \(File name too long\)"):
        read_prime(Path("x" * 300), bundle.manifest)
