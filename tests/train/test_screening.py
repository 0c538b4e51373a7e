"""Recordings that nobody can mean to train on are refused with a remedy, and what is odd about others is said."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.errors import UserError
from slash_train.corpus import Corpus
from slash_train.finding import LeftOut
from slash_train.prepare import TARGET_PEAK, prepare

RATE = 16_000
T = np.arange(3 * RATE) / RATE
TONE = 0.3 * np.sin(2 * np.pi * 440 * T)
BASS = 0.3 * np.sin(2 * np.pi * 41 * T)


def _write(folder: Path, **takes: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, samples in takes.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    return folder


def _remarks(folder: Path, out: Path, **how: object) -> dict[str, str]:
    manifest = prepare([folder], out, valid=0, test=0, **how)  # type: ignore[arg-type]
    return {recording.name: "; ".join(recording.remarks) for recording in manifest.recordings}


BAD: dict[str, tuple[np.ndarray, str]] = {
    "channels that cancel each other": (np.stack([TONE, -TONE], axis=1), r"cancel each other.*`channel` left"),
    "channels that nearly do": (np.stack([TONE, -0.99 * TONE], axis=1), r"cancel each other.*`channel` left"),
    "surround whose mix is nothing": (np.stack([TONE, -TONE, BASS, -BASS], axis=1), r"cancel each other"),
    "an offset": (TONE + 0.5, r"offset from zero of 0\.500 under sound of 0\.212; pass `remove_dc`"),
    "a negative offset": (TONE - 0.2, r"offset from zero of 0\.200"),
    "an offset that changes sides": (TONE + np.where(T < 1.5, 0.5, -0.5), r"offset from zero.*`remove_dc`"),
    "an offset under little sound": (0.01 * TONE + 0.02, r"offset from zero"),
    "nothing but an offset": (np.full(len(T), 0.5), r"offset from zero"),
    "not numbers": (np.where(T == 1.0, np.nan, TONE), "not finite"),
    "infinity": (np.where(T == 1.0, np.inf, TONE), "not finite"),
    "a click of thousands": (np.where(T == 1.0, 30_000.0, TONE), r"under which good.wav would be lost"),
}


@pytest.mark.parametrize(("samples", "says"), BAD.values(), ids=BAD.keys())
def test_recordings_that_poison_a_corpus_are_refused_with_a_remedy(
    tmp_path: Path, samples: np.ndarray, says: str
) -> None:
    takes = _write(tmp_path / "takes", good=BASS, poison=samples)
    with pytest.raises(UserError, match=f"poison.wav: .*{says}"):
        prepare([takes], tmp_path / "corpus", valid=0, test=0)
    assert not (tmp_path / "corpus").exists()
    left: list[LeftOut] = []
    manifest = prepare([takes], tmp_path / "corpus", valid=0, test=0, skip_bad=True, left_out=left.append)
    assert [recording.name for recording in manifest.recordings] == ["good.wav"]
    assert [entry.name for entry in manifest.left_out] == [str(takes / "poison.wav")]
    assert [entry.path.name for entry in left] == ["poison.wav"]
    _write(tmp_path / "only", good=BASS)
    prepare([tmp_path / "only"], tmp_path / "clean", valid=0, test=0)
    assert np.array_equal(Corpus(tmp_path / "corpus").pcm, Corpus(tmp_path / "clean").pcm)


def test_a_peak_that_drowns_the_others_is_refused(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", a=TONE, b=BASS, loud=5000 * TONE)
    with pytest.raises(
        UserError, match=r"loud\.wav: has a peak of 1,500 times full scale, under which a\.wav, b\.wav"
    ):
        prepare([takes], tmp_path / "corpus")


def test_a_click_in_the_only_recording_is_refused(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", a=np.where(T == 1.0, 30_000.0, TONE))
    with pytest.raises(UserError, match=r"under which the rest of it would be lost"):
        prepare([takes], tmp_path / "corpus")


def test_one_scale_for_all_is_no_fault(tmp_path: Path) -> None:
    """Floats on the scale of 16-bit integers."""
    takes = _write(tmp_path / "takes", a=32_768 * TONE, b=20_000 * BASS)
    assert _remarks(takes, tmp_path / "corpus") == {"a.wav": "", "b.wav": ""}


@pytest.mark.parametrize("rate", [1, 999, 768_001, 10_000_000])
def test_sample_rates_that_no_recording_has_are_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.wav: says that it has a sample rate of {rate} Hz"):
        prepare([tmp_path / "a.wav"], tmp_path / "corpus")


def test_what_is_odd_but_can_be_meant_is_said(tmp_path: Path) -> None:
    takes = _write(
        tmp_path / "takes",
        a=TONE,
        offset=BASS + 0.03,
        silent=np.zeros(RATE),
        wide=np.stack([TONE, -0.8 * TONE], axis=1),
    )
    assert _remarks(takes, tmp_path / "corpus") == {
        "a.wav": "",
        "offset.wav": "offset from zero of 0.030",
        "silent.wav": "silent",
        "wide.wav": "channels cancel each other by 19 dB",
    }


@pytest.mark.parametrize("drift", [np.full(len(T), 0.5), 0.5 - T / 3, 0.3 * np.sin(2 * np.pi * T / 12)])
def test_offsets_are_removed_on_request(tmp_path: Path, drift: np.ndarray) -> None:
    takes = _write(tmp_path / "takes", a=BASS + drift)
    manifest = prepare([takes], tmp_path / "corpus", valid=0, test=0, remove_dc=True)
    assert manifest.offsets_removed and "offset from zero" in manifest.recordings[0].remarks[0]
    pcm = Corpus(tmp_path / "corpus").pcm / 32768
    expected = BASS * TARGET_PEAK / 0.3
    assert len(pcm) == len(BASS)
    scale = np.dot(pcm, expected) / np.dot(expected, expected)
    assert scale > 0.7
    assert np.abs(pcm / scale - expected).max() < (0.1 if drift[0] == 0 else 0.01)  # lines do not follow a curve


def test_removing_offsets_changes_a_recording_without_one_by_next_to_nothing(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", a=TONE, b=BASS[: RATE + 100], c=BASS[:RATE], d=TONE[: RATE + 9000])
    for remove_dc in (False, True):
        prepare([takes], tmp_path / f"{remove_dc}", valid=0, test=0, remove_dc=remove_dc)
    plain, removed = (Corpus(tmp_path / f"{remove_dc}").pcm.astype(int) for remove_dc in (False, True))
    assert len(plain) == len(removed) and np.abs(plain - removed).max() < 150  # 0.5%


def test_every_bad_recording_is_named_in_one_run(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", good=TONE, offset=TONE + 0.5, empty=np.zeros(0))
    (takes / "text.flac").write_text("no audio")
    (takes / "zero.aiff").touch()
    (takes / "gone.wav").symlink_to("nowhere")
    with pytest.raises(UserError) as refusal:
        prepare([takes], tmp_path / "corpus")
    said = str(refusal.value)
    assert said.startswith("5 files cannot be used: ") and "\n" not in said
    assert all(name in said for name in ("offset.wav", "empty.wav", "text.flac", "zero.aiff", "gone.wav"))
    assert "good.wav" not in said and said.endswith("or pass `skip_bad` to go on without them")
    assert [path.name for path in tmp_path.iterdir()] == ["takes"]
    assert _remarks(takes, tmp_path / "corpus", skip_bad=True) == {"good.wav": ""}


def test_with_nothing_but_bad_recordings_there_is_no_going_on(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", a=TONE + 0.5)
    with pytest.raises(UserError, match=r"a\.wav: has an offset"):
        prepare([takes], tmp_path / "corpus", skip_bad=True)


def test_shorter_than_the_header_says_is_kept_in_the_manifest(tmp_path: Path) -> None:
    takes = _write(tmp_path / "takes", a=TONE, cut=TONE)
    data = (takes / "cut.wav").read_bytes()
    (takes / "cut.wav").write_bytes(data[: len(data) // 2])
    assert _remarks(takes, tmp_path / "corpus")["cut.wav"] == "shorter than its header says: 1.5 of 3.0 s"


def test_a_recording_with_damage_everywhere_has_a_bounded_list_of_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", rng.normal(0, 0.1, 60 * RATE), RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    for start in range(50_000, len(data), 50_000):  # a place every second or two
        data[start : start + 200] = rng.bytes(200)
    folder = tmp_path / "takes"
    folder.mkdir()
    (folder / "a.flac").write_bytes(data)
    manifest = prepare([folder], tmp_path / "corpus", valid=0, test=0)
    (recording,) = manifest.recordings
    assert 20 < len(recording.remarks) <= 25
    assert any("more such places" in remark for remark in recording.remarks)
