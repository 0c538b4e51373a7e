"""Recordings from strangers: however damaged, they are decoded or refused in one line."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fault_tally import Tally
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slash_infer.audio.recording import open_recording
from slash_infer.errors import UserError

KINDS = [
    "WAV",
    "RF64",
    "AIFF",
    "CAF",
    "AU",
    "W64",
    "MP3",
    "FLAC",
    "OGG",
    "VOC",
    "NIST",
    "PAF",
    "SVX",
    "IRCAM",
    "AVR",
    "XI",
]
MOST_FRAMES = 10_000_000  # of any file here


def _whole(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(20_000) / 9), 44_100, format=kind)
    return file.getvalue()


WHOLE = {kind: _whole(kind) for kind in KINDS}


def _damaged(kind: str, seed: int) -> bytes:
    """Change, cut out, insert and cut off bytes; in headers most of all."""
    chance, data = random.Random(seed), bytearray(WHOLE[kind])  # noqa: S311
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        place = chance.randrange(max(1, chance.choice([len(data), min(len(data), 128)])))
        extreme = chance.choice(
            [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1"]
        )
        how = chance.randrange(5)
        if how == 0:
            data[place : place + 1] = chance.randbytes(1)
        elif how == 1:
            data[place : place + 4] = extreme
        elif how == 2:
            del data[place:]
        elif how == 3:
            data[place:place] = chance.randbytes(chance.randrange(3000))
        else:
            del data[place : place + chance.randrange(3000)]
    return bytes(data)


def _decoded_or_refused(path: Path) -> None:
    frames = 0
    try:
        with open_recording(path) as decoder:
            for block in decoder.blocks():
                frames += len(block)
                assert frames < MOST_FRAMES
    except UserError as refusal:
        assert "\n" not in str(refusal) and str(path) in str(refusal)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(200, id="few"),
        pytest.param(10_000, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_damaged_recording_is_decoded_or_refused(tmp_path: Path, count: int, tally: Tally) -> None:
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(kind=st.sampled_from(KINDS), seed=st.integers(0, 1 << 62))
    def check(kind: str, seed: int) -> None:
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(_damaged(kind, seed))
        _decoded_or_refused(path)
        tally.count("hostile files: recordings decoded")

    check()
