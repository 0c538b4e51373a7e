"""Preparing a corpus from recordings of every kind."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.errors import UserError
from slash_train.corpus import SPLITS, Corpus
from slash_train.finding import find_recordings
from slash_train.prepare import TARGET_PEAK, prepare
from slash_train.recordings import SourceStats, decode
from slash_train.splits import divide


def _tone(
    path: Path, *, rate: int = 16_000, seconds: float = 1.0, channels: int = 1, how: dict[str, str] | None = None
) -> None:
    """Write a 440 Hz tone, each further channel half as loud as the one before."""
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(path, np.stack([tone / 2**c for c in range(channels)], axis=1), rate, **(how or {}))


def _strongest(pcm: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate / len(pcm))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "how"),
    [
        ("a.wav", 44_100, 2, {"subtype": "PCM_24"}),
        ("a.wav", 8_000, 1, {"subtype": "PCM_U8"}),
        ("a.wav", 48_000, 6, {"subtype": "FLOAT"}),
        ("a.flac", 96_000, 2, {"subtype": "PCM_24"}),
        ("a.ogg", 44_100, 2, {}),
        ("a.MP3", 44_100, 1, {"format": "MP3"}),
    ],
)
def test_any_rate_depth_and_channel_count(
    tmp_path: Path, name: str, rate: int, channels: int, how: dict[str, str]
) -> None:
    _tone(tmp_path / name, rate=rate, channels=channels, how=how)
    prepare([tmp_path / name], tmp_path / "corpus", valid=0, test=0)
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.pcm.dtype == np.int16
    assert corpus.length("train") == pytest.approx(16_000, rel=0.05)  # lossy codecs pad
    assert _strongest(corpus.pcm, 16_000) == pytest.approx(440, abs=2)
    assert np.abs(corpus.pcm).max() / 32768 == pytest.approx(TARGET_PEAK, abs=1e-3)


def test_channels(tmp_path: Path) -> None:
    _tone(tmp_path / "a.wav", channels=2, how={"subtype": "FLOAT"})
    peaks = {}
    for channel in ("mix", "left", "right"):
        blocks = list(decode(tmp_path / "a.wav", 16_000, channel, SourceStats()))
        peaks[channel] = np.abs(np.concatenate(blocks)).max()
    assert peaks["left"] == pytest.approx(0.5, abs=0.01)
    assert peaks["right"] == pytest.approx(0.25, abs=0.01)
    assert peaks["mix"] == pytest.approx(0.375, abs=0.01)
    _tone(tmp_path / "mono.wav")
    with pytest.raises(UserError, match=r"mono.wav: is mono"):
        list(decode(tmp_path / "mono.wav", 16_000, "right", SourceStats()))


def test_decoding_in_blocks_equals_decoding_at_once(tmp_path: Path) -> None:
    """A recording longer than one block is resampled without discontinuities."""
    _tone(tmp_path / "long.wav", rate=44_100, seconds=4.0)
    decoded = np.concatenate(list(decode(tmp_path / "long.wav", 16_000, "mix", SourceStats())))
    assert len(decoded) == pytest.approx(64_000, abs=2)
    t = np.arange(len(decoded)) / 16_000
    inside = slice(800, -800)
    assert np.abs(decoded - 0.5 * np.sin(2 * np.pi * 440 * t))[inside].max() < 2e-3


def test_loudness_is_set_once_for_the_whole_corpus(tmp_path: Path) -> None:
    _tone(tmp_path / "loud.wav")
    soundfile.write(tmp_path / "quiet.wav", 0.1 * soundfile.read(tmp_path / "loud.wav")[0], 16_000)
    manifest = prepare([tmp_path], tmp_path / "corpus", valid=0, test=0)
    pcm = Corpus(tmp_path / "corpus").pcm
    assert [r.name for r in manifest.recordings] == ["loud.wav", "quiet.wav"]
    assert np.abs(pcm[16_000:]).max() / np.abs(pcm[:16_000]).max() == pytest.approx(0.1, rel=0.01)


def test_every_recording_can_fill_the_range(tmp_path: Path) -> None:
    """From -1 to 1, whatever its level and however uneven its two halves are; silence stays what it is."""
    t = np.arange(16_000)
    uneven = np.maximum(np.sin(t / 9), -0.5)
    for name, samples in (("a", 0.9 * uneven), ("b", 0.01 * uneven), ("c", np.zeros(16_000))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    manifest = prepare([tmp_path], tmp_path / "corpus", valid=0, test=0, scale="recording")
    assert (manifest.scale, manifest.gain_db) == ("recording", None)
    loud, quiet, silent = Corpus(tmp_path / "corpus").pcm.reshape(3, -1)
    for pcm in (loud, quiet):
        assert (pcm.min(), pcm.max()) == (-32768, 32767)
        expected = (uneven - uneven.min()) / (uneven.max() - uneven.min()) * 2 - 1
        assert pcm / 32768 == pytest.approx(expected, abs=1e-4)
    assert not silent.any()
    assert prepare([tmp_path], tmp_path / "other", valid=0, test=0).scale == "corpus"


def test_a_recording_that_is_lost_under_its_own_peak_is_refused(tmp_path: Path) -> None:
    samples = np.tile([0.01, -0.01], 24_000)  # three seconds
    soundfile.write(tmp_path / "fine.wav", samples, 16_000, subtype="FLOAT")
    samples[1000] = 1e4
    soundfile.write(tmp_path / "click.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(
        UserError, match=r"click\.wav: has a peak of 10,000 times full scale, under which the rest of it"
    ):
        prepare([tmp_path], tmp_path / "corpus", valid=0, test=0, scale="recording")
    manifest = prepare([tmp_path], tmp_path / "corpus", valid=0, test=0, scale="recording", skip_bad=True)
    assert [recording.name for recording in manifest.recordings] == ["fine.wav"]


def test_clipping_and_silence_are_counted(tmp_path: Path) -> None:
    samples = np.zeros(16_000)
    samples[:8000] = np.clip(3 * np.sin(np.arange(8000)), -1, 1)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    (recording,) = prepare([tmp_path], tmp_path / "corpus", valid=0, test=0).recordings
    assert recording.clipped == np.count_nonzero(np.abs(samples) >= 32767 / 32768) > 1000
    assert recording.silent_seconds == pytest.approx(0.5, abs=0.05)


def test_folders_are_searched_and_hidden_files_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".trash").mkdir(parents=True)
    for name in ("b.wav", "deep/a.flac", "._b.wav", "deep/.trash/c.wav", "cover.jpg"):
        (tmp_path / name).write_bytes(b"")
    found = find_recordings([tmp_path, tmp_path / "b.wav"]).recordings
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b.wav", "deep/a.flac"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 100])
def test_splits_cover_everything_once_and_hold_out_whole_files(count: int) -> None:
    lengths = [1000 + 37 * (i * 7919 % 101) for i in range(count)]
    divided = divide([f"{i}.wav" for i in range(count)], lengths, 0.1, 0.1)
    regions = [region for recording in divided for region in recording]
    assert regions[0].start == 0
    assert all(a.start + a.length == b.start for a, b in itertools.pairwise(regions))
    total = sum(lengths)
    assert sum(region.length for region in regions) == total
    shares = {split: sum(r.length for r in regions if r.split == split) / total for split in SPLITS}
    assert all(share > 0 for share in shares.values())
    assert shares["train"] >= 0.3
    if count >= 12:
        assert shares["valid"] == pytest.approx(0.1, abs=0.06)
        assert shares["test"] == pytest.approx(0.1, abs=0.06)
    if count >= 3:
        assert all(len(recording) == 1 for recording in divided)


def test_splits_do_not_depend_on_the_order_of_equal_files() -> None:
    names = [f"{i}.wav" for i in range(10)]
    forward = divide(names, [100] * 10, 0.2, 0.2)
    backward = divide(names[::-1], [100] * 10, 0.2, 0.2)
    assert [r[0].split for r in forward] == [r[0].split for r in backward[::-1]]


def test_the_real_recordings(shared_audio: Path, tmp_path: Path) -> None:
    manifest = prepare([shared_audio / "mixed"], tmp_path / "corpus")
    assert {recording.source_rate for recording in manifest.recordings} == {44_100, 48_000}
    assert sum(manifest.length(split) for split in SPLITS) / 16_000 > 30


def test_a_file_named_twice_goes_in_once(tmp_path: Path) -> None:
    _tone(tmp_path / "a.wav")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    found = find_recordings([tmp_path, tmp_path / "a.wav", tmp_path / "link" / "a.wav"]).recordings
    assert found == [tmp_path / "a.wav"]


def test_sources_inside_the_output_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    _tone(tmp_path / "sources" / "a.wav")
    prepare([tmp_path / "sources"], tmp_path / "corpus", valid=0, test=0)
    (tmp_path / "sources").rename(tmp_path / "corpus" / "mine")
    with pytest.raises(UserError, match="which is to be read"):
        prepare([tmp_path / "corpus" / "mine"], tmp_path / "corpus", force=True)
    assert (tmp_path / "corpus" / "mine" / "a.wav").exists()


@pytest.mark.parametrize(("level", "says"), [(1e-30, "every recording is silent"), (1e30, "not finite, or absurd")])
def test_levels_no_recording_has(tmp_path: Path, level: float, says: str) -> None:
    soundfile.write(tmp_path / "a.wav", level * np.sin(np.arange(4000)), 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match=says):
        prepare([tmp_path], tmp_path / "corpus")


def test_names_in_an_old_encoding(tmp_path: Path) -> None:
    _tone(tmp_path / "a.wav")
    (tmp_path / "a.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    manifest = prepare([tmp_path], tmp_path / "corpus", valid=0, test=0)
    assert [r.name for r in manifest.recordings] == ["caf\ufffd.wav"]
    assert Corpus(tmp_path / "corpus").manifest == manifest


def _take(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, 16_000).astype(np.int16)


@pytest.mark.parametrize("seed", range(4))
def test_copies_stay_in_one_split_and_it_is_said(tmp_path: Path, seed: int) -> None:
    """Whatever their format, bit depth and number of channels, as long as the samples are the same."""
    for i in range(6):
        take = _take(10 * seed + i)
        soundfile.write(tmp_path / f"a{i}.wav", take, 16_000)
        soundfile.write(tmp_path / f"b{i}.flac", take, 16_000)
        if i < 2:
            soundfile.write(tmp_path / f"c{i}.aiff", np.stack([take, take], axis=1), 16_000, subtype="PCM_24")
    manifest = prepare([tmp_path], tmp_path / "corpus", valid=0.2, test=0.2)
    splits: dict[str, set[str]] = {}
    for recording in manifest.recordings:
        splits.setdefault(recording.name[1], set()).update(region.split for region in recording.regions)
        original = f"a{recording.name[1]}.wav"
        copied = () if recording.name == original else (f"the same audio as {original}, so in the same split",)
        assert recording.remarks == copied
    assert all(len(of_take) == 1 for of_take in splits.values())
    assert all(manifest.length(split) > 0 for split in SPLITS)


def test_copies_of_one_recording_are_cut_alike(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _take(0), 16_000)
    soundfile.write(tmp_path / "b.wav", _take(0), 16_000)
    first, second = prepare([tmp_path], tmp_path / "corpus", valid=0.2, test=0.2).recordings
    assert [(r.split, r.length) for r in first.regions] == [(r.split, r.length) for r in second.regions]


def test_audio_that_differs_in_one_sample_is_no_copy(tmp_path: Path) -> None:
    take = _take(0)
    soundfile.write(tmp_path / "a.wav", take, 16_000)
    take[8000] ^= 1
    soundfile.write(tmp_path / "b.wav", take, 16_000)
    soundfile.write(tmp_path / "c.wav", take, 8_000)
    contents = [r.sha256 for r in prepare([tmp_path], tmp_path / "corpus", valid=0, test=0).recordings]
    assert len(set(contents)) == 3


def test_splits_without_copies_are_as_ever() -> None:
    lengths = [1000 + 37 * (i * 7919 % 101) for i in range(12)]
    divided = divide([f"{i}.wav" for i in range(12)], lengths, 0.2, 0.2)
    assert [region.split for (region,) in divided] == [
        "test",
        "test",
        "train",
        "train",
        "train",
        "train",
        "test",
        "train",
        "valid",
        "train",
        "valid",
        "valid",
    ]


@pytest.mark.parametrize("kind", ["AIFF", "CAF", "OGG", "AU", "W64", "RF64", "VOC", "MP3", "FLAC", "WAV"])
def test_every_format_in_a_folder_is_used(tmp_path: Path, kind: str) -> None:
    _tone(tmp_path / f"a.{kind.lower()}", how={"format": kind})
    assert [r.name for r in prepare([tmp_path], tmp_path / "corpus", valid=0, test=0).recordings] == [
        f"a.{kind.lower()}"
    ]


def test_names_that_become_the_same_are_numbered(tmp_path: Path) -> None:
    for i, byte in enumerate((b"\xe8", b"\xe9")):
        soundfile.write(tmp_path / "a.wav", _take(i), 16_000)
        (tmp_path / "a.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf" + byte + b".wav"))
    names = [r.name for r in prepare([tmp_path], tmp_path / "corpus", valid=0, test=0).recordings]
    assert names == ["caf\ufffd.wav", "caf\ufffd.wav (2)"]
