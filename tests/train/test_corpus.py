"""Damaged and hostile corpora are refused by one error that names the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fault_tally import Tally

from slash_infer.errors import UserError
from slash_train.corpus import Corpus
from slash_train.prepare import prepare

Damage = Callable[[Path], object]
Content = dict[str, Any]


@pytest.fixture(name="small")
def _small(tmp_path: Path) -> Path:
    """A corpus of three recordings."""
    (tmp_path / "takes").mkdir()
    for i in range(3):
        soundfile.write(tmp_path / "takes" / f"{i}.wav", 0.5 * np.sin((i + 1) * np.arange(8000) / 10), 16_000)
    prepare([tmp_path / "takes"], tmp_path / "corpus")
    return tmp_path / "corpus"


def _with_header(shape: str, *, descr: str = "<i2", order: str = "False") -> Damage:
    def damage(path: Path) -> None:
        header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode() + bytes(48_000))

    return damage


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.zeros(24_000, np.int16))


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SAMPLES: dict[str, tuple[Damage, str]] = {
    "an npz": (_npz, "it is not the 24,000 samples"),
    "2^62 samples": (_with_header(f"({1 << 62},)"), "is damaged: it is not the 24,000 samples of corpus.json"),
    "another type": (_with_header("(24000,)", descr="<f4"), "it is not the 24,000 samples"),
    "objects": (_with_header("(24000,)", descr="|O"), "it is not the 24,000 samples"),
    "another shape": (_with_header("(24000, 1)"), "it is not the 24,000 samples"),
    "no shape": (_with_header("()"), "it is not the 24,000 samples"),
    "Fortran order": (_with_header("(24000,)", order="True"), "it is not the 24,000 samples"),
    "a shape of words": (_with_header("('many',)"), "it is not the 24,000 samples"),
    "brackets without end": (_with_header("(" * 60), "it is not the 24,000 samples"),
    "cut off": (lambda path: os.truncate(path, 20_000), "it is not the 24,000 samples"),
    "cut off in its header": (lambda path: os.truncate(path, 20), "it is not the 24,000 samples"),
    "more": (lambda path: os.truncate(path, 200_000), "it is not the 24,000 samples"),
    "a terabyte of nothing": (lambda path: os.truncate(path, 1 << 40), "it is not the 24,000 samples"),
    "empty": (lambda path: os.truncate(path, 0), "it is not the 24,000 samples"),
    "text": (lambda path: path.write_text("samples"), "it is not the 24,000 samples"),
    "a flipped bit": (_flip, "is damaged: its checksum is not the one in corpus.json"),
    "a pipe": (_fifo, "not a plain file"),
    "missing": (Path.unlink, "is damaged: it has no samples.npy"),
}


@pytest.mark.parametrize(("damage", "says"), SAMPLES.values(), ids=SAMPLES.keys())
def test_damaged_samples(small: Path, damage: Damage, says: str, tally: Tally) -> None:
    damage(small / "samples.npy")
    with pytest.raises(UserError, match=says) as refusal:
        Corpus(small)
    assert str(refusal.value).endswith("; prepare the corpus again")
    assert "pickle" not in str(refusal.value)
    tally.count("hostile files: corpora's samples")


def _set(path: str, value: object) -> Callable[[Content], None]:
    """Set one value, `recordings.0.regions.0.start` for example."""

    def change(content: Any) -> None:
        *parents, last = path.split(".")
        for key in parents:
            content = content[int(key) if key.isdigit() else key]
        content[int(last) if last.isdigit() else last] = value

    return change


MANIFESTS: dict[str, Callable[[Content], None]] = {
    "a negative offset": _set("recordings.0.regions.0.start", -1),
    "an overlap": _set("recordings.1.regions.0.start", 7999),
    "a gap": _set("recordings.1.regions.0.start", 8001),
    "a length beyond the end": _set("recordings.2.regions.0.length", 8001),
    "a length of 10^30": _set("recordings.2.regions.0.length", 10**30),
    "a length of nothing": _set("recordings.2.regions.0.length", 0),
    "an offset of 10^30": _set("recordings.0.regions.0.start", 10**30),
    "an unknown split": _set("recordings.0.regions.0.split", "exam"),
    "a rate of 0": _set("sample_rate", 0),
    "a rate of 10^30": _set("sample_rate", 10**30),
    "a source at 0 Hz": _set("recordings.0.source_rate", 0),
    "no recordings": _set("recordings", []),
    "no regions": _set("recordings.0.regions", []),
    "one name twice": _set("recordings.0.name", "1.wav"),
    "no name": _set("recordings.0.name", ""),
    "clipped less than never": _set("recordings.0.clipped", -1),
    "a peak that is no number": _set("recordings.0.peak", float("nan")),
    "a gain beyond numbers": _set("gain_db", float("inf")),
    "longer silence than audio": _set("recordings.0.silent_seconds", 2.0),
    "another checksum": _set("samples_sha256", "0" * 64),
    "a checksum that is none": _set("samples_sha256", ""),
    "another version": _set("schema_version", 1),
    "an unknown field": _set("colour", "red"),
}


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_damaged_manifests(small: Path, change: Callable[[Content], None], tally: Tally) -> None:
    content = json.loads((small / "corpus.json").read_text())
    change(content)
    (small / "corpus.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="prepare the corpus again"):
        Corpus(small)
    tally.count("hostile files: corpora's manifests")


def test_a_healthy_corpus_is_mapped_and_not_read_into_memory(small: Path) -> None:
    pcm = Corpus(small).pcm
    assert isinstance(pcm, np.memmap) and pcm.dtype == np.int16 and pcm.shape == (24_000,)
    assert not pcm.flags.writeable
