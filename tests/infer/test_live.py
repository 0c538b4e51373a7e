"""Sound while it is made: a WAV stream, a ring buffer between two threads, the speakers, and whether it keeps up."""

import io
import os
import subprocess
import sys
import threading
import time
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from slash_infer.audio.pcm_stream import PcmStream, wav_header
from slash_infer.audio.speakers import Ring
from slash_infer.bench.latency import blocks_ahead, measure_live
from slash_infer.bundle import Bundle
from slash_infer.clips.pump import pump
from slash_infer.codec import to_pcm16
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler


def test_a_wav_stream_is_a_wav_file(bundle: Bundle, engine: Engine) -> None:
    pipe = io.BytesIO(wav_header(16_000, 1234))
    pipe.seek(0, io.SEEK_END)
    pump(Sampler(bundle, engine=engine), [[PcmStream(pipe)]], 1234 / 16_000)
    assert len(pipe.getvalue()) == 44 + 2 * 1234
    pipe.seek(0)
    heard, rate = soundfile.read(pipe, dtype="int16")
    assert rate == 16_000
    assert np.array_equal(heard, to_pcm16(Sampler(bundle, engine=engine).generate(1234 / 16_000)[0]))


def test_an_endless_stream_has_a_header_that_readers_take(bundle: Bundle, engine: Engine) -> None:
    pipe = io.BytesIO()
    pipe.write(wav_header(8_000, None))
    blocks = iter([False, False, True])
    pump(Sampler(bundle, engine=engine), [[PcmStream(pipe)]], stop=lambda: next(blocks))
    assert len(pipe.getvalue()) == 44 + 2 * 3 * 1024
    pipe.seek(0)
    heard, rate = soundfile.read(pipe)
    assert rate == 8_000 and len(heard) == 3 * 1024


def test_every_sink_gets_the_same(bundle: Bundle, engine: Engine) -> None:
    pipes = [io.BytesIO(), io.BytesIO()]
    pump(Sampler(bundle, engine=engine), [[PcmStream(pipe) for pipe in pipes]], 0.1)
    assert pipes[0].getvalue() == pipes[1].getvalue() and len(pipes[0].getvalue()) == 3200


def test_the_prime_comes_first_in_every_sink(bundle: Bundle, engine: Engine) -> None:
    prime, pipes = np.linspace(-0.5, 0.5, 100, dtype=np.float32), [[io.BytesIO(), io.BytesIO()], [io.BytesIO()]]
    sinks = [[PcmStream(pipe) for pipe in clip_pipes] for clip_pipes in pipes]
    pump(Sampler(bundle, 2, engine=engine), sinks, 0.1, primes=[prime, None])
    first, second = Sampler(bundle, 2, engine=engine).generate(0.1)
    for pipe in pipes[0]:
        assert pipe.getvalue() == np.concatenate([to_pcm16(prime), to_pcm16(first)]).tobytes()
    assert pipes[1][0].getvalue() == to_pcm16(second).tobytes()


def test_a_ring_hands_on_all_samples_in_order() -> None:
    ring, rng = Ring(1000), np.random.default_rng(0)
    samples = rng.standard_normal(20_000).astype(np.float32)
    heard: list[npt.NDArray[np.float32]] = []

    def read() -> None:
        while sum(len(block) for block in heard) < 30_000:
            out = np.full(rng.integers(1, 400), np.nan, np.float32)
            ring.read_into(out)
            heard.append(out)
            time.sleep(0.0001)

    reader = threading.Thread(target=read)
    reader.start()
    for block in np.split(samples, 25):
        ring.write(block)
    ring.drain()
    reader.join()
    played = np.concatenate(heard)
    assert np.array_equal(played[played != 0], samples)
    assert not np.isnan(played).any()


def test_a_ring_waits_until_it_is_full_and_counts_what_it_missed() -> None:
    ring, out = Ring(8), np.zeros(4, np.float32)
    ring.write(np.ones(4, np.float32))
    ring.read_into(out)
    assert not out.any() and ring.underruns == 0  # not yet begun
    ring.write(np.ones(4, np.float32))
    for _ in range(2):
        ring.read_into(out)
        assert out.all()
    ring.read_into(out)
    assert not out.any() and ring.underruns == 1
    ring.write(np.ones(2, np.float32))
    ring.read_into(out)
    assert out.sum() == 2 and ring.underruns == 2
    ring.drain()
    ring.read_into(out)
    assert ring.underruns == 2  # the end is no underrun


def test_a_clip_shorter_than_the_ring_is_played_too() -> None:
    ring, out = Ring(100), np.zeros(60, np.float32)
    ring.write(np.ones(50, np.float32))
    threading.Timer(0.1, lambda: ring.read_into(out)).start()
    ring.drain()
    assert out.sum() == 50 and ring.underruns == 0


@pytest.mark.skipif(find_library("portaudio") is None, reason="--play: PortAudio is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="--play: its null device is ALSA's")
def test_the_speakers_play_on_a_device_that_is_there(bundle: Bundle, tmp_path: Path) -> None:
    """ALSA's null device takes samples faster than they are heard, so that it runs dry."""
    (tmp_path / "alsa.conf").write_text("pcm.!default { type null }\nctl.!default { type null }\n")
    command = [sys.executable, "-m", "slash_cli", "generate", str(bundle.path), "--seconds", "0.5", "--play"]
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "alsa.conf")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "underruns with 0.2 s kept ready" in done.stderr and "slash: 0.5 s, seed" in done.stderr
    recording = ["--out", "take.wav", "--seed", "1"]
    done = subprocess.run(
        [*command, *recording], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "take.wav").frames == 8000
    (tmp_path / "alsa.conf").write_text("pcm.!default { type hw card 77 }\n")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and "nothing here plays 16000 Hz" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("times", "ahead"),
    [
        ([0.5] * 10, 1),  # twice as fast as it is played
        ([0.99] * 10, 1),
        ([0.5, 0.5, 2.2, 0.5, 0.5, 0.5], 3),  # a hiccup of two blocks and a bit
        ([0.5, 0.5, 0.5, 0.5, 0.5, 1.9], 2),
        ([1.5] * 10, 4),  # too slow: only a long head start helps
        ([1.1] * 3 + [9.0], None),
    ],
)
def test_how_much_must_be_kept_ready(times: list[float], ahead: int | None) -> None:
    assert blocks_ahead(times, 1.0) == ahead


def test_a_bundle_is_tried_live(bundle: Bundle, engine: Engine) -> None:
    found = measure_live(bundle, engine, 1.0)
    assert found.seconds == 1.0 and found.block_seconds == pytest.approx(1 / 16)
    assert found.realtime > 0 and found.median_block <= found.slowest_block
    assert found.latency is None or found.latency > 0
