"""What comes with Slash: a bundle to generate from at once, and weights to begin with."""

import json
from pathlib import Path

import pytest
import soundfile
from slash_process import slash

from slash_infer.bundle import BOX as BUNDLE
from slash_infer.bundle import Bundle
from slash_infer.sampling.sampler import Sampler
from slash_train.box import BOX as WEIGHTS
from slash_train.box import read_box

MOST_BYTES = 8_000_000


@pytest.mark.parametrize("folder", [BUNDLE, WEIGHTS])
def test_it_is_small(folder: Path) -> None:
    assert 1_000_000 < sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES


def test_bundle_and_weights_are_of_one_model() -> None:
    trained, ancestors = read_box()
    provenance = Bundle.in_the_box().manifest.provenance
    assert (provenance.preset, provenance.step, provenance.valid_bits) == (
        trained.preset_name,
        trained.step,
        trained.valid_bits,
    )
    assert provenance.ancestors == ancestors[1:]


def test_the_library_opens_it() -> None:
    with Sampler(Bundle.in_the_box(), seed=3) as sampler:
        assert sampler.generate(0.2).std() > 0


def test_generate_and_bench_take_it_where_no_bundle_is_named(tmp_path: Path) -> None:
    """And the clip's sidecar says how to make it again, without one."""
    out = tmp_path / "riff.wav"
    assert slash("generate", "--out", out, "--seconds", "0.5", "--seed", "2").returncode == 0
    first = soundfile.read(out)[0]
    again = json.loads(out.with_suffix(".json").read_text())["outcome"]["again"]
    assert again.startswith("slash generate --out riff.wav --clip 0 --seed 2 ")
    assert slash(*again.split()[1:], "--force", cwd=tmp_path).returncode == 0
    assert (soundfile.read(out)[0] == first).all()
    done = slash("bench", "-n", "1", "--seconds", "0.05")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("next: slash generate --out clips")


def test_commands_for_other_bundles_say_what_it_lacks() -> None:
    """It has int8 alone."""
    assert slash("info", BUNDLE).stdout.count("fp32, which is left out, checked against PyTorch") == 1
    for command in ("verify", "build"):
        done = slash(command, BUNDLE, *(["--target", "8.9"] if command == "build" else []))
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("slash: "), done.stderr
    done = slash("generate", "--precision", "fp32", "--out", "never.wav")
    assert done.returncode == 2 and "has no fp32 graphs; take int8" in done.stderr


def test_a_run_begins_with_its_weights(recordings: Path, tmp_path: Path) -> None:
    assert slash("prepare", recordings, "--out", tmp_path / "corpus").returncode == 0
    train = ["train", tmp_path / "corpus", "--out", tmp_path / "run", "--init-from", "box", "--steps", "1"]
    done = slash(*train, "--set", "training.batch_size=2", "--set", "training.preview_clips=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ancestor = json.loads((tmp_path / "run" / "run.json").read_text())["ancestors"][0]
    assert ancestor["step"] == Bundle.in_the_box().manifest.provenance.step
