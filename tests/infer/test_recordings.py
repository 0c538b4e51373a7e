"""Recordings are decoded to their real end, whatever their headers say, and what is wrong with them is said."""

import gc
import io
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.audio.audio_kinds import SNDFILE_SUFFIXES, sounds
from slash_infer.audio.quiet import quiet_decoders
from slash_infer.audio.recording import open_recording, shortfall
from slash_infer.errors import UserError

RATE = 44_100
SECONDS = 6
NOISE_THEN_TONE = np.sin(2 * np.pi * 440 * np.arange(SECONDS * RATE) / RATE) * 0.3
NOISE_THEN_TONE[: 2 * RATE] = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE)
Damage = Callable[[bytes], bytes]


def _encoded(kind: str, samples: np.ndarray = NOISE_THEN_TONE, rate: int = RATE, **how: object) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=kind, **how) as sound:
        for first in range(0, len(samples), 1 << 16):
            sound.write(samples[first : first + (1 << 16)])
    return file.getvalue()


def _mp3(bitrate_mode: str = "CONSTANT") -> bytes:
    return _encoded("MP3", bitrate_mode=bitrate_mode, compression_level=0.9 if bitrate_mode == "VARIABLE" else 0.5)


def _heard(path: Path, data: bytes) -> tuple[float, str]:
    """Return the seconds decoded, and the remarks."""
    path.write_bytes(data)
    with open_recording(path) as decoder:
        frames = sum(len(block) for block in decoder.blocks())
        said = [*decoder.remarks, shortfall(decoder, frames) or ""]
    return frames / decoder.rate, "; ".join(said)


def _with(data: bytes, position: int, patch: bytes) -> bytes:
    return data[:position] + patch + data[position + len(patch) :]


@pytest.mark.parametrize("kind", [kind for kind, suffixes in SNDFILE_SUFFIXES.items() if suffixes])
def test_every_format_that_libsndfile_has_is_known_by_name(kind: str) -> None:
    assert kind in soundfile.available_formats()


def test_no_format_of_libsndfile_is_forgotten() -> None:
    assert set(soundfile.available_formats()) == set(SNDFILE_SUFFIXES)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "OGG", "CAF", "AU", "W64", "RF64"])
def test_recordings_are_known_by_their_first_bytes(kind: str) -> None:
    assert sounds(_encoded(kind)[:12])


def test_an_estimated_length_is_not_believed(tmp_path: Path) -> None:
    """MP3 of variable bit rate, loud first, whose first frame would have told the number of frames."""
    whole = _mp3("VARIABLE")
    first = 144 * 128_000 // RATE
    assert b"Xing" in whole[:first]
    estimated = soundfile.info(io.BytesIO(whole[first:])).duration
    assert estimated < 0.8 * SECONDS
    seconds, said = _heard(tmp_path / "a.mp3", whole[first:])
    assert seconds == pytest.approx(SECONDS, abs=0.1) and said == ""


def test_healthy_files_are_decoded_in_blocks_as_libsndfile_decodes_them_at_once(tmp_path: Path) -> None:
    """soundfile seeks after every block, and in MP3 libsndfile comes out elsewhere: the end was lost."""
    for kind in ("MP3", "OGG", "FLAC", "WAV"):
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(_encoded(kind))
        with open_recording(path) as decoder:
            ours = np.concatenate(list(decoder.blocks()))
            assert decoder.remarks == []
        assert np.array_equal(ours, soundfile.read(path, dtype="float32", always_2d=True)[0])


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "CAF", "AU", "W64", "RF64", "MP3", "FLAC", "OGG", "VOC"])
def test_half_a_file_is_used_as_far_as_it_goes_and_it_is_said(tmp_path: Path, kind: str) -> None:
    data = _encoded(kind)
    seconds, said = _heard(tmp_path / f"a.{kind.lower()}", data[: len(data) // 2])
    assert 0.8 < seconds < 4.6
    assert "than its header says" in said or "cut off" in said
    if kind == "WAV":
        assert said == "shorter than its header says: 3.0 of 6.0 s"


def _wav_sizes(data: bytes, size: int) -> bytes:
    return _with(data, data.index(b"data") + 4, struct.pack("<I", size))


MISCOUNTED: dict[str, tuple[str, Damage]] = {
    "no size": ("WAV", lambda d: _wav_sizes(d, 0)),
    "one byte": ("WAV", lambda d: _wav_sizes(d, 1)),
    "a second": ("WAV", lambda d: _wav_sizes(d, 2 * RATE)),
    "an open size": ("WAV", lambda d: _wav_sizes(d, 0xFFFFFFFF)),
    "RF64 without sizes": ("RF64", lambda d: _with(d, d.index(b"ds64") + 8, bytes(24))),
    "AIFF without sizes": ("AIFF", lambda d: _with(d, d.index(b"SSND") + 4, bytes(4))),
    "AIFF of a second": ("AIFF", lambda d: _with(d, d.index(b"SSND") + 4, struct.pack(">I", 2 * RATE + 8))),
    "CAF without a size": ("CAF", lambda d: _with(d, d.index(b"data") + 4, bytes(8))),
    "CAF of open size": ("CAF", lambda d: _with(d, d.index(b"data") + 4, b"\xff" * 8)),
    "AU without a size": ("AU", lambda d: _with(d, 8, bytes(4))),
    "W64 without a size": ("W64", lambda d: _with(d, d.index(b"data") + 16, bytes(8))),
}


@pytest.mark.parametrize(("kind", "damage"), MISCOUNTED.values(), ids=MISCOUNTED.keys())
def test_a_recorder_that_lost_power_loses_nothing(tmp_path: Path, kind: str, damage: Damage) -> None:
    seconds, said = _heard(tmp_path / f"a.{kind.lower()}", damage(_encoded(kind)))
    assert seconds == pytest.approx(SECONDS, abs=0.001)
    assert "shorter" not in said


def test_more_than_a_header_counts_is_said(tmp_path: Path) -> None:
    _, said = _heard(tmp_path / "a.wav", _wav_sizes(_encoded("WAV"), 2 * RATE))
    assert said == "its header counts 1.0 of 6.0 s; "


def test_metadata_after_the_audio_is_not_audio(tmp_path: Path) -> None:
    for tail in (
        b"LIST\x10\0\0\0INFOISFT\4\0\0\0Lavf",
        b"LIST\xff\xff\0\0cut off",
        bytes(40_000),
        b"TAG" + bytes(125),
    ):
        seconds, _ = _heard(tmp_path / "a.wav", _encoded("WAV") + tail)
        assert seconds == pytest.approx(SECONDS, abs=0.001)


@pytest.mark.parametrize(
    "rubbish", [bytes(5000), b"\xff" * 3000, os.urandom(20_000)], ids=["zeros", "ones", "random"]
)
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_goes_on_after_rubbish_in_its_middle(tmp_path: Path, rubbish: bytes, mode: str) -> None:
    data = _mp3(mode)
    third = len(data) // 3
    seconds, said = _heard(tmp_path / "a.mp3", data[:third] + rubbish + data[third:])
    assert seconds == pytest.approx(SECONDS, abs=0.15)
    assert "is damaged at" in said


def test_rubbish_around_an_mp3_is_said(tmp_path: Path) -> None:
    data = os.urandom(20_000)
    seconds, said = _heard(tmp_path / "before.mp3", data.replace(b"\xff", b"\0") + _mp3())
    assert seconds == pytest.approx(SECONDS, abs=0.1) and "20,000 bytes at its beginning are not audio" in said
    seconds, said = _heard(tmp_path / "after.mp3", _mp3() + 10 * data.replace(b"\xff", b"\0"))
    assert seconds == pytest.approx(SECONDS, abs=0.1) and "200,000 bytes at its end are not audio" in said


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "WAV"])
def test_recordings_that_follow_one_another_in_a_file_are_all_read(tmp_path: Path, kind: str) -> None:
    seconds, said = _heard(tmp_path / f"a.{kind.lower()}", 2 * _encoded(kind))
    assert seconds == pytest.approx(2 * SECONDS, abs=0.1) and said != ""


def test_recordings_of_two_rates_in_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"changes from 44100 to 22050 Hz at 6.0 s; split it there"):
        _heard(tmp_path / "a.ogg", _encoded("OGG") + _encoded("OGG", rate=22_050))


def test_a_flac_goes_on_after_damage(tmp_path: Path) -> None:
    data = _encoded("FLAC")
    half = len(data) // 2
    seconds, said = _heard(tmp_path / "a.flac", _with(data, half, os.urandom(3000)))
    assert SECONDS - 0.7 < seconds < SECONDS
    assert "are damaged and left out" in said


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UserError, match="not a plain file"), open_recording(tmp_path / "a.wav"):
        pass


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.raw", bytes(100), r"no header says its rate and depth\); convert it"),
        ("a.xyz", b"healthy, but of another program", "is in a format that is not read; convert it"),
        ("a.wav", b"text", "is not readable audio"),
        ("a.wav", b"", "holds no audio"),
        ("a.wav", _with(_encoded("WAV"), 24, struct.pack("<I", 1)), "sample rate of 1 Hz"),
        ("a.wav", _with(_encoded("WAV"), 24, struct.pack("<I", 2_000_000)), "sample rate of 2000000 Hz"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        _heard(tmp_path / name, content)


def test_what_decoders_print_does_not_arrive_and_what_python_prints_does(tmp_path: Path) -> None:
    data = _mp3()
    (tmp_path / "a.mp3").write_bytes(data[:20_000] + bytes(5000) + data[20_000:])
    script = (
        "import sys; from pathlib import Path; from slash_infer.audio.recording import open_recording\n"
        "with open_recording(Path(sys.argv[1])) as decoder: frames = sum(map(len, decoder.blocks()))\n"
        "print('heard', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.mp3"], capture_output=True, text=True, check=True
    )
    assert done.stderr == "heard\n"


def test_python_may_write_to_stderr_meanwhile(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with os.fdopen(os.dup(2), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with quiet_decoders():
            os.write(2, b"native\n")
            sys.stderr.write("ours\n")
    os.write(2, b"after\n")
    assert "native" not in capfd.readouterr().err


def _write_with_libav(path: Path, container: str, codec: str, tracks: int = 1) -> None:
    """Write a stereo tone."""
    import av

    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE) * 32768).astype(np.int16)
    with av.open(str(path), "w", format=container) as file:
        streams = [file.add_stream(codec, rate=RATE, layout="stereo") for _ in range(tracks)]
        for stream in streams:
            assert isinstance(stream, av.AudioStream)
            resampler = av.AudioResampler(
                format=stream.codec_context.format, layout="stereo", rate=RATE, frame_size=1024
            )
            frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[np.newaxis], format="s16", layout="stereo")
            frame.sample_rate = RATE
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [
        ("a.m4a", "ipod", "aac"),
        ("a.m4a", "ipod", "alac"),
        ("a.aac", "adts", "aac"),
        ("a.mov", "mov", "pcm_s16le"),
        ("a.mkv", "matroska", "aac"),
        ("a.wv", "wv", "wavpack"),
    ],
)
def test_pyav_reads_what_libsndfile_does_not(tmp_path: Path, name: str, container: str, codec: str) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: decode)")
    path = tmp_path / name
    _write_with_libav(path, container, codec)
    with open_recording(path) as decoder:
        heard = np.concatenate(list(decoder.blocks()))
        assert (decoder.rate, decoder.channels, decoder.remarks) == (RATE, 2, [])
        assert shortfall(decoder, len(heard)) is None
    assert len(heard) / RATE == pytest.approx(2, abs=0.05)
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.03)


def test_pyav_opens_no_other_file_and_needs_sound(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: decode)")
    _write_with_libav(tmp_path / "a.aac", "adts", "aac")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{tmp_path}/a.aac\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m4a").write_text(playlist)
    with pytest.raises(UserError, match=r"is not readable audio|holds no"):
        _heard(tmp_path / "list.m4a", playlist.encode())


def test_tracks_that_are_not_taken_are_said(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: decode)")
    _write_with_libav(tmp_path / "a.mov", "mov", "pcm_s16le", tracks=2)
    _, said = _heard(tmp_path / "a.mov", (tmp_path / "a.mov").read_bytes())
    assert "has 2 sound tracks; the first is taken" in said


def test_half_a_file_is_used_or_refused_and_both_are_said(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: decode)")
    _write_with_libav(tmp_path / "a.mov", "mov", "pcm_s16le")
    data = (tmp_path / "a.mov").read_bytes()
    with pytest.raises(UserError, match="is not readable audio"):  # its index is at its end
        _heard(tmp_path / "a.mov", data[: len(data) // 2])
    _write_with_libav(tmp_path / "a.wv", "wv", "wavpack")
    data = (tmp_path / "a.wv").read_bytes()
    seconds, said = _heard(tmp_path / "a.wv", data[: len(data) // 2])
    assert 0.5 < seconds < 1.5 and "shorter than its header says" in said


def test_without_pyav_its_formats_are_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"needs PyAV to be read; pip install 'slash-audio\[decode\]'"):
        _heard(tmp_path / "a.m4a", b"\0\0\0\x20ftypM4A ")


def test_a_recording_counts_though_what_follows_it_in_the_file_cannot_be_decoded(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 4000)
    for suffix, kept in ((".wav", 30), (".flac", 60), (".ogg", 200)):
        path = tmp_path / f"take{suffix}"
        soundfile.write(path, sound, 16_000)
        path.write_bytes(path.read_bytes() + path.read_bytes()[:kept])
        with open_recording(path) as decoder:
            assert sum(len(block) for block in decoder.blocks()) == 4000
        assert any("cannot be decoded" in remark for remark in decoder.remarks)


def test_room_made_for_a_recording_is_no_audio_and_known_at_once(tmp_path: Path) -> None:
    path = tmp_path / "take.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE")
    with path.open("r+b") as file:
        file.truncate(64 << 20)  # as sparse as it comes: chunk by chunk, it would take minutes
    began = time.monotonic()
    with pytest.raises(UserError, match="holds no audio"), open_recording(path):
        pass
    assert time.monotonic() - began < 5


def test_places_that_are_not_in_a_damaged_file_are_looked_for_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    path = tmp_path / "take.caf"
    description = struct.pack(">4sqd4sIIIII", b"desc", 32, 16_000.0, b"lpcm", 0, 2, 1, 1, 16)
    path.write_bytes(b"caff\0\1\0\0" + description + struct.pack(">4sq", b"free", 1 << 47) + bytes(400))
    with pytest.raises(UserError, match="is not readable audio"), open_recording(path):
        pass
    gc.collect()  # PyAV prints an exception that it drops
    assert capfd.readouterr().err == ""
