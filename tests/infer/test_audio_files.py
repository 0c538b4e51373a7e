"""Audio files hold the samples written to them, as exactly as the format can, and say where they come from."""

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.audio.audio_files import SUBTYPES, Tags, audio_file, most_samples
from slash_infer.audio.normalisation import check_length, normalise
from slash_infer.choices import Bits, Normalise
from slash_infer.errors import UserError

SAMPLES = np.linspace(-1, 1, 4001, dtype=np.float32)
KINDS = [(suffix, bits) for suffix, subtypes in SUBTYPES.items() for bits in subtypes]


@pytest.mark.parametrize(("suffix", "bits"), KINDS)
def test_samples_and_tags_survive(tmp_path: Path, suffix: str, bits: Bits) -> None:
    path = tmp_path / f"clip{suffix}"
    with audio_file(path, 16_000, bits, Tags("clip 5, seed 7", "preset live")) as file:
        file.write(SAMPLES[:1000])
        file.write(SAMPLES[1000:])
        assert not path.exists()
    with soundfile.SoundFile(path) as heard:
        assert (heard.samplerate, heard.channels, heard.subtype) == (16_000, 1, SUBTYPES[suffix][bits])
        assert (heard.title, heard.comment) == ("clip 5, seed 7", "preset live")
        assert heard.software.startswith("Slash ")
        samples = heard.read(dtype="float64")
    assert len(samples) == len(SAMPLES)
    tolerance = 0.2 if suffix == ".ogg" else {16: 2.0**-16, 24: 2.0**-24, 32: 0.0}[bits]
    off = np.abs(samples - SAMPLES)
    assert (off[:-1] <= tolerance).all() and off[-1] <= 2 * tolerance  # 1.0 is beyond the range of integers
    assert [path.name for path in tmp_path.iterdir()] == [f"clip{suffix}"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        audio_file(tmp_path / "new" / "clip.wav", 16_000, 16, Tags("clip", "of a test")) as file,
    ):
        file.write(SAMPLES)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".ogg", ".wav"])
def test_minutes_can_be_written_at_once(tmp_path: Path, suffix: str) -> None:
    """libsndfile's Vorbis encoder crashes on some millions of samples in one call."""
    with audio_file(tmp_path / f"long{suffix}", 16_000, 16, Tags("clip", "of a test")) as file:
        file.write(np.zeros(200 * 16_000, np.float32))
    assert soundfile.info(tmp_path / f"long{suffix}").frames == 200 * 16_000


def test_a_file_that_did_not_arrive_whole_does_not_appear(tmp_path: Path) -> None:
    """As on a disk that fills up while the FLAC encoder ends, which libsndfile does not report."""
    with (
        pytest.raises(UserError, match="4001 of 4003 samples arrived"),
        audio_file(tmp_path / "clip.flac", 16_000, 16, Tags("clip", "of a test")) as file,
    ):
        file.write(SAMPLES)
        file.written += 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "bits"), KINDS)
def test_what_the_system_says_is_passed_on(tmp_path: Path, suffix: str, bits: Bits) -> None:
    """libsndfile calls it a system error, or says nothing."""
    noise = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with (
            pytest.raises(UserError, match=r"cannot be written \(File too large\); choose an `out` where larger"),
            audio_file(tmp_path / f"clip{suffix}", 16_000, bits, Tags("clip", "of a test")) as file,
        ):
            file.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said() -> None:
    with (
        pytest.raises(UserError, match="cannot be written"),
        audio_file(Path("/proc/clip.wav"), 16_000, 16, Tags("clip", "of a test")),
    ):
        pass


def test_a_wav_file_has_room_for_what_32_bits_count() -> None:
    assert most_samples(".WAV".lower(), 16) == pytest.approx(2**31, rel=1e-4)
    assert most_samples(".wav", 32) == pytest.approx(2**30, rel=1e-4)
    assert most_samples(".flac", 16) is None


@pytest.mark.parametrize("level", [0.01, 0.9])
def test_peaks_are_brought_to_1_db_below_full_scale(level: float) -> None:
    normalised = normalise(level * SAMPLES, 16_000, "peak")
    assert np.abs(normalised).max() == pytest.approx(10 ** (-1 / 20))


def test_loudness_is_what_is_asked_for_and_never_clips() -> None:
    meter = pytest.importorskip("pyloudnorm", reason="pyloudnorm is not installed").Meter(16_000)
    rng = np.random.default_rng(0)
    quiet = (0.01 * rng.standard_normal(32_000)).astype(np.float32)
    normalised = normalise(quiet, 16_000, "loudness")
    assert meter.integrated_loudness(normalised.astype(float)) == pytest.approx(-16, abs=0.05)
    click = quiet.copy()
    click[100] = 0.5
    assert np.abs(normalise(click, 16_000, "loudness")).max() == pytest.approx(10 ** (-1 / 20))


@pytest.mark.parametrize("how", ["peak", "loudness"])
def test_silence_stays_silence(how: Normalise) -> None:
    silence = np.zeros(16_000, np.float32)
    assert np.array_equal(normalise(silence, 16_000, how), silence)


def test_lengths_that_cannot_be_normalised_are_refused() -> None:
    check_length(0.01, "peak")
    refused: list[tuple[float, Normalise]] = [(0.3, "loudness"), (3601.0, "peak"), (float("inf"), "peak")]
    for seconds, how in refused:
        with pytest.raises(UserError, match="takes clips of"):
            check_length(seconds, how)
