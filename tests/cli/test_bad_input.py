"""Bad input: one line that names the fault and the remedy, exit code 2, and nothing left behind."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from slash_process import slash_preloaded

from slash_infer.bundle import Bundle
from slash_train.corpus import Corpus
from slash_train.run import Run

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"  # fp32 alone


@pytest.fixture(name="place")
def _place(tmp_path: Path, corpus: Corpus, run: Run, bundle: Bundle) -> Path:
    """A folder with one of everything, good and bad."""
    for name, path in (("corpus", corpus.path), ("run", run.path), ("bundle", bundle.path)):
        shutil.copytree(path, tmp_path / name)
    shutil.copytree(EXAMPLE, tmp_path / "example")
    shutil.copytree(run.path, tmp_path / "damaged-run")
    (tmp_path / "damaged-run" / "run.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("this is not audio\n")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", np.sin(np.arange(150)), 16_000)
    tone = np.sin(np.arange(16_000))
    soundfile.write(tmp_path / "tone.wav", tone, 16_000)
    soundfile.write(tmp_path / "long.wav", np.sin(np.arange(64_000) ** 1.1), 16_000)
    for name in ("long-silence", "long-silence-too"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(64_000), 16_000)
    soundfile.write(tmp_path / "offset.wav", 0.1 * tone + 0.5, 16_000)
    soundfile.write(tmp_path / "opposed.wav", np.stack([tone, -tone], axis=1), 16_000)
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    (tmp_path / "healthy.xyz").write_text("of another program")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "cut.flac").write_bytes(_flac(tmp_path, tone)[:2000])
    shutil.copytree(bundle.path, tmp_path / "altered")
    graph = bytearray((tmp_path / "altered" / "sample_tier.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (tmp_path / "altered" / "sample_tier.onnx").write_bytes(graph)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken.wav").write_bytes(b"precious")
    (tmp_path / "song.json").write_text("{}")
    shutil.copy(tmp_path / "tone.wav", tmp_path / "song.wav")
    (tmp_path / "damaged").mkdir()
    shutil.copy(tmp_path / "tone.wav", tmp_path / "damaged" / "clip.wav")
    (tmp_path / "damaged" / "clip.json").write_text('{"made_by": "slash generate", "seed": 1')
    return tmp_path


CASES = {
    "an empty folder": ("prepare empty --out new", "empty: holds no recordings"),
    "no such folder": ("prepare missing --out new", "missing: no such file or folder"),
    "a text file named .wav": ("prepare text.wav --out new", "text.wav: is not readable audio"),
    "a folder with a text file named .wav": (
        "prepare tone.wav text.wav --out new",
        "text.wav: is not readable",
    ),
    "a file without audio": ("prepare nothing.wav --out new", "nothing.wav: holds no audio"),
    "a damaged file": ("prepare cut.flac --out new", "cut.flac: "),
    "only silence": ("prepare silent.wav --out new", "every recording is silent"),
    "numbers that are none": ("prepare nan.wav --out new", "nan.wav: holds samples that are not finite"),
    "a headerless file": ("prepare x.raw --out new", "x.raw: is not readable audio (no header says its rate"),
    "an unknown format": (
        "prepare healthy.xyz --out new",
        "healthy.xyz: is in a format that is not read; convert it",
    ),
    "a pipe": ("prepare pipe.wav --out new", "pipe.wav: cannot be read as a recording (not a plain file)"),
    "an offset": ("prepare offset.wav --out new", "offset.wav: has an offset from zero of 0.500 under sound of"),
    "an offset's remedy": ("prepare offset.wav --out new", "pass --remove-dc, or pass --skip-bad"),
    "opposed channels": ("prepare opposed.wav --out new", "opposed.wav: its channels cancel each other"),
    "opposed channels' remedy": ("prepare opposed.wav --out new", "take one with --channel left"),
    "several bad files": (
        "prepare nothing.wav tone.wav text.wav x.raw --out new",
        "3 files cannot be used: nothing.wav: holds no audio (remove it); text.wav: is not readable audio",
    ),
    "no right channel": ("prepare tone.wav --channel right --out new", "tone.wav: is mono"),
    "splits over the whole": ("prepare tone.wav --valid 0.6 --test 0.6 --out new", "together under 1"),
    "a negative split": ("prepare tone.wav --valid -0.1 --out new", "at least 0"),
    "a sample rate of 0": ("prepare tone.wav --sample-rate 0 --out new", "--sample-rate 0"),
    "an unknown channel": ("prepare tone.wav --channel both --out new", "--channel"),
    "a corpus that exists": ("prepare tone.wav --out taken", "taken: already exists"),
    "forcing over a strange folder": ("prepare tone.wav --out taken --force", "was not made by slash prepare"),
    "a missing option": ("prepare tone.wav", "--out"),
    "an unknown preset": ("train corpus --out new --preset slahs", "did you mean 'slash'"),
    "a mistyped key": (
        "train corpus --out new --set training.batchsize=8",
        "did you mean 'training.batch_size'",
    ),
    "a value of the wrong type": ("train corpus --out new --set model.width=wide", "model.width"),
    "another sample rate": ("train corpus --out new --preset tiny --set audio.sample_rate=8000", "8000 Hz"),
    "not a corpus": ("train empty --out new", "empty: is not a corpus"),
    "no GPU": ("train corpus --out new --preset tiny --device cuda:77", "--device cuda:77: cannot be used"),
    "a device that is none": (
        "train corpus --out new --preset tiny --device gpu",
        "--device gpu: cannot be used",
    ),
    "no steps": ("train corpus --out new --preset tiny --steps 0", "--steps"),
    "minutes that are no number": ("train corpus --out new --preset tiny --minutes nan", "--minutes"),
    "clips of no length": (
        "train corpus --out new --preset tiny --set training.preview_seconds=0.00001",
        "training.preview_seconds",
    ),
    "no minutes": ("train corpus --out new --preset tiny --minutes 0", "--minutes"),
    "a width beyond all machines": ("train corpus --out new --set model.width=1000000", "model.width"),
    "a run that exists": ("train corpus --out taken --preset tiny --steps 1", "taken: already exists"),
    "resuming what is no run": ("train corpus --out empty --resume", "empty: is not a run"),
    "resuming another model": (
        "train corpus --out run --resume --set model.width=3 --set training.seed=7",
        "model.width is 32, not 3; training.seed is 0, not 7; start a new run",
    ),
    "resuming with another preset": ("train corpus --out run --resume --preset demo", "model.width is 32, not 128"),
    "resuming by force": ("train corpus --out run --resume --force", "does not take --force"),
    "resuming from elsewhere": ("train corpus --out run --resume --init-from run", "--init-from: begins a new run"),
    "beginning with what is not there": (
        "train corpus --out new --init-from rum",
        "rum: does not exist; did you mean run",
    ),
    "beginning with what is no run": ("train corpus --out new --init-from corpus", "corpus: is not a run, nor a"),
    "beginning with a file": (
        "train corpus --out new --init-from tone.wav",
        "tone.wav: is not a run, nor a checkpoint",
    ),
    "beginning with a damaged run": (
        "train corpus --out new --init-from damaged-run",
        "run.json: cannot be read as a run",
    ),
    "beginning with another model": (
        "train corpus --out new --init-from run --preset live",
        "run: has another model, of which less than half fits: model.hops is [4, 16], not [8, 32]",
    ),
    "beginning with other codes": (
        "train corpus --out new --init-from run --set audio.codec.kind=linear",
        "take the same --set audio.codec",
    ),
    "replacing what it begins with": ("train corpus --out run --init-from run --force", "run: holds run, which is"),
    "an unknown precision": ("train corpus --out new --preset tiny --precision fp8", "training.precision"),
    "scoring what is nothing": ("evaluate empty corpus", "empty: is not a run or a bundle"),
    "scoring an unknown split": ("evaluate run corpus --split all", "--split"),
    "exporting what is no run": ("export empty --out new", "empty: is not a run"),
    "an unknown checkpoint": ("export run --out new --checkpoint step-3", "step-3: is not a checkpoint"),
    "a bundle that exists": ("export run --out taken", "taken: already exists"),
    "an altered graph": ("generate altered --out new.wav", "sample_tier.onnx: was altered"),
    "benching an altered graph": ("bench altered", "sample_tier.onnx: was altered"),
    "not a bundle": ("generate empty --out new.wav", "empty: is not a bundle"),
    "a clip that exists": ("generate bundle --out taken.wav", "taken.wav: already exists"),
    "a folder that is a file": ("generate bundle --out song.json -n 2", "song.json: is a file of another kind"),
    "several clips in one file": ("generate bundle --out new.wav -n 2", "give a folder"),
    "no clips": ("generate bundle --out new.wav -n 0", "-n 0: must be from 1 to 1000000"),
    "no place": ("generate bundle", "Missing option '--out'"),
    "a clip of several": ("generate bundle --out new.wav -n 2 --clip 1", "--clip: makes one clip alone"),
    "a negative clip": ("generate bundle --out new.wav --clip -1 --seed 3", "clip -1: must be from 0 to"),
    "no shard": ("generate bundle --out new -n 4 --seed 1 --shard 0/4", "from 1/4 to 4/4 for example"),
    "a shard beyond": ("generate bundle --out new -n 4 --seed 1 --shard 5/4", "--shard 5/4: must be"),
    "a shard of words": ("generate bundle --out new -n 4 --seed 1 --shard half", "--shard half: must be"),
    "shards of chance": ("generate bundle --out new -n 4 --shard 1/4", "--shard 1/4: needs --seed"),
    "the best of fewer": ("generate bundle --out new -n 4 --best-of 3", "--best-of 3: must be from -n, 4, to 10000"),
    "the best of a shard": ("generate bundle --out new --best-of 3 --shard 1/2", "without --clip and --shard"),
    "the best of hours": ("generate bundle --out new --best-of 3 --seconds 601", "at most 600 seconds"),
    "the best into one file": ("generate bundle --out new.wav --best-of 3 -n 2", "2 clips were asked for"),
    "the best over another": ("generate bundle --out taken.wav --best-of 3", "taken.wav: already exists"),
    "a ranking over its clip": (
        "generate bundle --out new.wav --best-of 2 --json new.json",
        "is where a clip or its sidecar",
    ),
    "a table inside its audition": ("audition run --out new --json new/table.json", "is inside new, which is to be"),
    "a ranking of one": ("generate bundle --out new.wav --json new.json", "--json: is for the ranking of --best-of"),
    "endless clips": ("generate bundle --out new -n 2 --seconds inf", "make one clip; leave out -n"),
    "a stream of clips": ("generate bundle --out - -n 2", "make one clip; leave out -n"),
    "a stream of FLAC": ("generate bundle --out - --format flac", "--out - takes wav or raw"),
    "a stream of 24 bits": ("generate bundle --out - --bits 24", "--out - has 16"),
    "a normalised stream": ("generate bundle --out - --normalise peak", "needs the whole clip before it plays"),
    "an endless normalised clip": (
        "generate bundle --out new.wav --seconds inf --normalise peak",
        "takes clips of 0 to 3600 seconds",
    ),
    "a normalisation that is none": ("generate bundle --out new.wav --normalise rms", "--normalise"),
    "a clip too short to be loud": (
        "generate bundle --out new.wav --seconds 0.2 --normalise loudness",
        "takes clips of 0.4 to 3600 seconds",
    ),
    "no latency": ("generate bundle --play --latency 0", "--latency 0.0: must be from 0.02 to 10 seconds"),
    "bits that are none": ("generate bundle --out new.wav --bits 8", "--bits 8: a .wav file takes 16 or 24 or 32"),
    "a FLAC of floats": ("generate bundle --out new.flac --bits 32", "a .flac file takes 16 or 24"),
    "raw files": ("generate bundle --out new --format raw", "--format raw: is for --out -"),
    "two formats": ("generate bundle --out new.wav --format flac", "is not named as --format flac"),
    "a temperature of words": (
        "generate bundle --out new.wav --temperature hot",
        "must be a number from 0.01 to 100",
    ),
    "a temperature going back": ("generate bundle --out new.wav --temperature 5:1,0:1", "each later than"),
    "a missing prime": ("generate bundle --out new.wav --prime none.wav", "--prime none.wav: no such file"),
    "a prime that is no audio": ("generate bundle --out new.wav --prime text.wav", "is not readable audio"),
    "a prime that is a folder": ("generate bundle --out new.wav --prime empty", "--prime empty: is not readable"),
    "a start beyond the prime": (
        "generate bundle --out new.wav --prime tone.wav --prime-start 1",
        "tone.wav is 1.00 s long; choose from 0",
    ),
    "more prime than there is": (
        "generate bundle --out new.wav --prime tone.wav --prime-seconds 2",
        "must be over 0 and at most 1.00",
    ),
    "no prime to include": ("generate bundle --out new.wav --include-prime", "--include-prime: needs a --prime"),
    "a prime part without a prime": (
        "generate bundle --out new.wav --prime-start 1",
        "--prime-start: needs a --prime",
    ),
    "live for no time": ("bench bundle --live --seconds 0.5", "--live needs from 1 to 3600"),
    "an audition of what is no run": ("audition empty --out new", "empty: is not a run"),
    "an audition of no clips": ("audition run --out new -n 0", "-n 0: must be from 1 to 100"),
    "an audition of no length": ("audition run --out new --seconds 0", "--seconds 0.0: must be from 0.1 to 600"),
    "an audition of no checkpoint": ("audition run --out new --checkpoint x", "x: is not a checkpoint"),
    "an audition over a strange folder": ("audition run --out taken --force", "was not made by slash audition"),
    "an audition of temperatures": ("audition run --out new --temperature 1,2", "takes one for all clips here"),
    "no length": ("generate bundle --out new.wav --seconds 0", "--seconds 0.0: must be from 0.01 to 86400, or inf"),
    "a length that is none": ("generate bundle --out new.wav --seconds nan", "--seconds nan"),
    "a temperature of 0": (
        "generate bundle --out new.wav --temperature 0",
        "temperature 0.0: must be from 0.01 to 100",
    ),
    "a floor that leaves nothing": (
        "generate bundle --out new.wav --floor 0.004",
        "--floor 0.004: must be from 0 to 0.003515625, which is 0.9 / 256 levels of the codec; 0 leaves no code out",
    ),
    "a floor that is none": ("generate bundle --out new.wav --floor nan", "--floor nan: must be from 0 to 0.0035"),
    "a negative floor": ("generate bundle --out new.wav --floor -1e-9", "--floor -1e-09: must be from 0 to 0.0035"),
    "a floor of words": ("generate bundle --out new.wav --floor low", "--floor"),
    "a floor beyond a codec of few levels": (
        "generate example --out new.wav --floor 0.12",
        "--floor 0.12: must be from 0 to 0.1125, which is 0.9 / 8 levels",
    ),
    "an audition with a floor that leaves nothing": (
        "audition run --out new --floor 0.01",
        "--floor 0.01: must be from 0 to 0.003515625",
    ),
    "a negative seed": ("generate bundle --out new.wav --seed -1", "seed -1"),
    "a format that is not written": ("generate bundle --out new.mp3", ".mp3 is not written"),
    "forcing over a strange sidecar": ("generate bundle --out song.wav --force", "song.json: was not made by slash"),
    "a parent that is a file": ("generate bundle --out taken.wav/new.wav", "is a file, not a folder"),
    "another format beside it": ("generate bundle --out song.flac", "would take the sidecar of song.wav"),
    "a place where nothing can be": ("generate bundle --out /proc/new.wav --engine cpu --precision fp32", "/proc"),
    "an engine that is none": ("generate bundle --out new.wav --engine tpu", "--engine"),
    "a precision the bundle lacks": (
        "generate example --out new.wav --precision int8",
        "take fp32, or export it with int8",
    ),
    "a precision that is none": ("bench bundle --precision int2", "--precision"),
    "exporting in no precision": ("export run --out new --precision fp32,int2", "--precision fp32,int2: must be of"),
    "exporting in an empty precision": ("export run --out new --precision ,", "--precision ,: must be of"),
    "building for what is no GPU": ("build bundle --target 1.0", "--target 1.0: must be one of 7.5"),
    "building what is no bundle": ("build empty --target 8.9", "empty: is not a bundle"),
    "verifying what is no bundle": ("verify empty", "empty: is not a bundle"),
    "scoring a run in int8": ("evaluate run corpus --precision int8", "--precision int8: is for bundles"),
    "no batch": ("bench bundle -n 1,x", "-n 1,x: must be numbers"),
    "info on nothing": ("info empty", "empty: is not a corpus, a run or a bundle"),
    "a gallery of no folder": ("gallery --out new", "CLIPS"),
    "a gallery of a file": ("gallery tone.wav --out new", "tone.wav: is not a clip of slash generate, with its"),
    "a gallery of nothing": ("gallery empty --out new", "empty: holds no clips of slash generate; give a folder"),
    "a gallery of the same twice": ("gallery empty ./empty --out new", "empty: was given twice"),
    "a gallery of a damaged clip": (
        "gallery damaged --out new",
        "damaged/clip.json: cannot be read as a clip's sidecar",
    ),
    "a gallery over a strange folder": ("gallery damaged --out taken --force", "was not made by slash gallery"),
    "comparing with nothing": ("compare tone.wav", "Missing option '--to'"),
    "comparing what is missing": ("compare none.wav --to corpus", "none.wav: does not exist"),
    "comparing an empty folder": ("compare empty --to corpus", "empty: holds no clips; give a folder with .wav"),
    "comparing what is no audio": ("compare text.wav --to corpus", "text.wav: is not readable audio"),
    "comparing what is named otherwise": ("compare x.raw --to corpus", "x.raw: is not named as a clip is"),
    "comparing a pipe": ("compare pipe.wav --to corpus", "pipe.wav: cannot be read as a clip (not a plain file)"),
    "comparing a file without audio": ("compare nothing.wav --to corpus", "nothing.wav: holds no audio"),
    "comparing a damaged file": ("compare cut.flac --to corpus", "cut.flac: "),
    "comparing a damaged sidecar": ("compare damaged --to corpus", "damaged/clip.json: cannot be read as a clip's"),
    "comparing a clip that is too short": (
        "compare short.wav tone.wav --to corpus",
        "the clips: are shorter than 1.024 seconds, each of them; give a longer one",
    ),
    "comparing silence": ("compare long-silence.wav --to corpus", "the clips: are all silent"),
    "comparing with what is missing": ("compare long.wav --to none", "none: no such file or folder"),
    "comparing with an empty folder": ("compare long.wav --to empty", "empty: holds no recordings"),
    "comparing with what is no audio": ("compare long.wav --to text.wav", "text.wav: is not readable audio"),
    "comparing with numbers that are none": (
        "compare long.wav --to nan.wav",
        "nan.wav: holds samples that are not finite",
    ),
    "comparing with one recording": (
        "compare long.wav --to long.wav",
        "long.wav: is a single recording, with no other",
    ),
    "comparing with moments": ("compare long.wav --to tone.wav", "tone.wav: has less than two seconds of recordings"),
    "comparing with silence": (
        "compare long.wav --to long-silence.wav --to long-silence-too.wav",
        "--to: has only silent recordings; there is nothing to compare with",
    ),
    "comparing with a corpus and more": (
        "compare long.wav --to corpus --to tone.wav",
        "corpus: is a corpus, and --to",
    ),
    "comparing over another file": ("compare long.wav --to corpus --json taken.wav", "taken.wav: already exists"),
    "comparing over a strange file": (
        "compare long.wav --to corpus --json song.json --force",
        "song.json: was not made by slash compare",
    ),
    "an unknown command": ("play", "No such command 'play'; choose from prepare, train"),
    "the beginning of a command": ("gen", "No such command 'gen'; did you mean 'generate'?"),
    "a mistyped command": ("trian corpus", "did you mean 'train'?"),
    "minutes without end": ("train corpus --out new --preset tiny --minutes 1e400", "--minutes"),
    "steps without end": ("train corpus --out new --preset tiny --steps " + "9" * 30, "--steps"),
    "a preset without a name": ("train corpus --out new --preset=", "preset '' does not exist"),
    "a checkpoint of any length": ("evaluate run corpus --checkpoint " + "9" * 5000, "is not a checkpoint"),
    "a value of any length": ("train corpus --out new --set model.width=" + "[" * 5000, "--set model.width: 5,000"),
}


@pytest.mark.parametrize(("command", "says"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_answered_by_one_line(place: Path, command: str, says: str) -> None:
    before = _everything(place)
    done = _slash(place, command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("slash: ") and says in done.stderr
    assert _everything(place) == before


def test_a_corpus_shorter_than_one_window(place: Path) -> None:
    assert _slash(place, "prepare short.wav --out tiny-corpus").returncode == 0
    before = _everything(place)
    done = _slash(place, "train tiny-corpus --out new --preset tiny")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "without long pauses, less than a window of 256 for each of 8 lanes; add recordings, or" in done.stderr
    assert _everything(place) == before


def _slash(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as log:
        return slash_preloaded(*command.split(), cwd=place, log=Path(log))


def _everything(place: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in place.rglob("*") if not path.is_dir()} | {
        str(path): 0 for path in place.rglob("*") if path.is_dir()
    }


def _flac(folder: Path, samples: np.ndarray) -> bytes:
    path = folder / "whole.flac"
    soundfile.write(path, samples, 16_000)
    return path.read_bytes()
