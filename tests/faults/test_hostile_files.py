"""Every kind of file that Slash reads, damaged in every way: used, or refused in one line that names it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import ON_CPU
from fault_samples import Samples
from fault_tally import Tally
from hostile import draw_damage, receive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slash_export.scoring import BundleScorer
from slash_infer.bundle import MANIFEST, Bundle, describe_file
from slash_infer.clips.primes import read_prime
from slash_infer.clips.resume import check_places, unfinished
from slash_infer.clips.sidecar import Sidecar, sidecar_path
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import check_directory_output, check_file_output
from slash_infer.gallery.find import find_sections
from slash_infer.gallery.page import make_gallery
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.plan_cache import PlanCache, PlanKey
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import MANIFEST as CORPUS
from slash_train.corpus import SPLITS, Corpus
from slash_train.prepare import prepare
from slash_train.run import Run
from slash_train.streams import TrainingStream

FEW = 12  # examples of the quick half, of each kind
CHECKPOINT = "checkpoints/step-00000002"
KEY = PlanKey("0" * 64, "tensorrt", "11", "gpu", "9.0", "13", 1, (1, 8, 1024))
PLAN = bytes(range(256))


@dataclass(frozen=True)
class Kind:
    """A kind of file: a healthy folder with some in it, what uses them, and how much of that is tried."""

    name: str
    files: Sequence[str]
    """What is damaged, one at a time."""
    use: Callable[[Path, Samples], object]
    """Opens and uses the folder; checks what comes of it."""
    many: int
    """Examples of the slow half."""
    source: str = ""
    """Which of the samples the folder is a copy of; with none, it is empty at first."""
    make: Callable[[Path, Samples], object] = lambda *_: None
    """Puts into the folder what is not in the copy."""
    seal: Callable[[Path, str], object] = lambda *_: None
    """Makes checksums match, so that damage is found behind them."""
    names: Sequence[str] = ()
    """Of which a refusal says one, besides those of the file and the folder."""
    changes: bool = False
    """Whether the folder changes where it works."""


# Bundles: what is opened generates codes that its codec has.


def _sample(folder: Path, _: Samples) -> None:
    bundle = Bundle(folder)
    with Sampler(bundle, 2, engine="cpu", precision="fp32") as sampler:
        codes = sampler.codes(8)
        assert codes.shape == (2, 8) and codes.min() >= 0 and codes.max() < bundle.manifest.codec.levels
        assert np.isfinite(sampler.bits).all() and (sampler.bits >= 0).all()


def _score(folder: Path, _: Samples) -> None:
    BundleScorer(Bundle(folder))


def _describe_in_manifest(folder: Path, name: str) -> None:
    """Let the manifest describe a file as it is now, as an attacker would."""
    if name == MANIFEST:
        return
    content = json.loads((folder / MANIFEST).read_text())
    entry = describe_file(folder / name).model_dump() if (folder / name).stat().st_size else {}
    tiers, (fp32,) = content["frame_tiers"], content["variants"]
    for described in (*fp32["frame_tiers"], fp32["sample_tier"], *(tier["initial_state"] for tier in tiers)):
        if described["file"] == name:
            described.update(entry)
    (folder / MANIFEST).write_text(json.dumps(content))


# Corpora: what is opened can be trained on.


def _read_corpus(folder: Path, _: Samples) -> None:
    corpus = Corpus(folder)
    regions = [region for split in SPLITS for region in corpus.regions(split)]
    assert all(region.start + region.length <= len(corpus.pcm) for region in regions)
    stream = TrainingStream(corpus, load_preset("tiny", ["training.batch_size=1", "training.window=64"]))
    for _window in range(3):
        assert stream.next().samples > 0


def _sum_samples(folder: Path, _: str) -> None:
    content = json.loads((folder / CORPUS).read_text())
    content["samples_sha256"] = hashlib.sha256((folder / "samples.npy").read_bytes()).hexdigest()
    (folder / CORPUS).write_text(json.dumps(content))


# Runs: what is opened can be gone on with, and exported.


def _resume(folder: Path, samples: Samples) -> None:
    run = Run(folder)
    assert [metrics.step for metrics in run.metrics()] == [2]
    weights = run.load_model("best").model.state_dict().values()
    assert all(tensor.isfinite().all() for tensor in weights)
    done = loop.resume(Corpus(samples.corpus), folder, preset=run.preset, limits=loop.Limits(2), context=ON_CPU)
    assert done.step >= 2


def _load(folder: Path, _: Samples) -> None:
    run = Run(folder)
    list(run.metrics())
    for which in ("best", "last"):
        model = run.load_model(which).model
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def _sum_checkpoint(folder: Path, name: str) -> None:
    path = folder / CHECKPOINT / "checksums.json"
    content = json.loads(path.read_text())
    content["files"][Path(name).name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(content))


# Clips: what is opened is shown, or completed.


def _show(folder: Path, _: Samples) -> None:
    page = folder.with_name("page")
    try:
        make_gallery(find_sections([folder]), page, "Clips", lambda: None)
        assert (page / "index.html").stat().st_size > 1000
    finally:
        shutil.rmtree(page, ignore_errors=True)
    assert [path.name for path in folder.parent.iterdir() if path.name.endswith(".part")] == []


def _plan_again(folder: Path, samples: Samples) -> None:
    bundle = Bundle(samples.bundle)
    engine = Engine(bundle, OnnxCpu())
    specs = [ClipSpec(folder / f"{i}.wav", i) for i in range(2)]
    Sidecar.read(sidecar_path(specs[0].file))
    check_places([spec.file for spec in specs], force=False)
    for force in (False, True):
        missing = unfinished(bundle, engine, specs, RenderOptions(0.05, seed=1), force=force)
        assert all(0 <= spec.existing_seconds <= 1e9 for spec in missing)


# A sampler that was saved, which goes on.


def _restore(folder: Path, samples: Samples) -> None:
    bundle = Bundle(samples.bundle)
    with Sampler.restore(folder / "sampler.npz", bundle, engine="cpu") as sampler:
        codes = sampler.codes(8)
    assert codes.min() >= 0 and codes.max() < bundle.manifest.codec.levels
    assert not np.isinf(sampler.bits).any()


def _unpack(folder: Path, samples: Samples) -> None:
    """Put the parts of a saved sampler beside it, to be damaged one by one."""
    shutil.copy(samples.sampler, folder)
    with np.load(samples.sampler) as saved:
        for name in saved.files:
            if name == "metadata":
                (folder / "metadata.json").write_text(str(saved[name]))
            else:
                (folder / f"{name}.bin").write_bytes(saved[name].tobytes())


def _pack(folder: Path, name: str) -> None:
    """Put a part that was damaged back into the saved sampler."""
    if name == "sampler.npz":
        return
    with np.load(folder / "sampler.npz") as saved:
        arrays: dict[str, Any] = dict(saved.items())
    content = (folder / name).read_bytes()
    if name == "metadata.json":
        arrays["metadata"] = np.array(content.decode(errors="replace"))
    else:
        array = arrays[name.removesuffix(".bin")]
        whole = content[: len(content) // array.itemsize * array.itemsize]
        numbers = np.frombuffer(whole, array.dtype)
        arrays[name.removesuffix(".bin")] = numbers.reshape(array.shape) if numbers.size == array.size else numbers
    np.savez(folder / "sampler.npz", allow_pickle=False, **arrays)


# Recordings: what is decoded becomes a corpus, or a prime.


def _record(folder: Path, _: Samples, *, name: str) -> None:
    tone = 0.3 * np.sin(np.arange(6000) / 9)
    soundfile.write(folder / name, np.stack([tone, tone / 2], axis=1), 22_050)


def _prepare(folder: Path, _: Samples) -> None:
    out = folder.with_name("prepared")
    try:
        prepare([folder], out, valid=0, test=0)
        pcm = Corpus(out).pcm
        assert len(pcm) > 0 and int(np.abs(pcm.astype(int)).max()) > 0
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert not list(folder.parent.glob(".prepared*"))


def _prime(folder: Path, samples: Samples) -> None:
    manifest = Bundle(samples.bundle).manifest
    for path in sorted(folder.iterdir()):
        prime = read_prime(path, manifest)
        assert len(prime.samples) and np.isfinite(prime.samples).all() and np.abs(prime.samples).max() <= 1


# Small files: plans that were built, and JSON that says who made what may be replaced.


def _keep_plan(folder: Path, _: Samples) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        PlanCache().keep(KEY, PLAN)


def _find_plan(folder: Path, _: Samples) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        assert PlanCache().find(KEY) in (None, PLAN)


def _made(folder: Path, _: Samples) -> None:
    for path in (folder / "made" / "made.json", folder / "scores.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"made_by": "a test", "mean": 1.5, "files": [{"name": "a", "bits": 2.5}]}))


def _replace(folder: Path, _: Samples) -> None:
    check_directory_output(folder / "made", force=True, metadata="made.json", made_by="a test")
    check_file_output(folder / "scores.json", force=True, made_by="a test")


GRAPHS = ("frame_tier_1.onnx", "frame_tier_2.onnx", "sample_tier.onnx")
TENSORS = tuple(f"{CHECKPOINT}/{name}.safetensors" for name in ("model", "ema", "optimiser", "state"))
STATE = f"{CHECKPOINT}/trainer_state.json"
INDICES = ("run.json", "metrics.jsonl", "checkpoints/index.json", f"{CHECKPOINT}/checksums.json")
PARTS = ("sampler.npz", "metadata.json", *(f"{name}.bin" for name in ("buffered.codes", "nll_sum", "history")))
PLAN_FILES = tuple(f"slash/plans/{KEY.name}{suffix}" for suffix in (".plan", ".json"))
KINDS = [
    Kind(
        "bundles' manifests",
        [MANIFEST],
        _sample,
        3000,
        source="bundle",
        names=("onnx", "npy", "is missing from the bundle"),
    ),
    Kind(
        "bundles that are scored",
        [MANIFEST, GRAPHS[2]],
        _score,
        500,
        source="bundle",
        seal=_describe_in_manifest,
        names=("onnx", "npy"),
    ),
    Kind("ONNX files", GRAPHS, _sample, 3000, source="bundle", seal=_describe_in_manifest),
    Kind("ONNX files that were altered", GRAPHS, _sample, 300, source="bundle"),
    Kind(
        "initial states",
        ["frame_tier_1.initial.npy", "frame_tier_2.initial.npy"],
        _sample,
        1500,
        source="bundle",
        seal=_describe_in_manifest,
    ),
    Kind("corpora's manifests", [CORPUS], _read_corpus, 2500, source="corpus"),
    Kind("corpora's samples", ["samples.npy"], _read_corpus, 1000, source="corpus", seal=_sum_samples),
    Kind(
        "runs and checkpoints",
        [*INDICES, *TENSORS, STATE],
        _load,
        1500,
        source="run",
        names=("/checkpoints/step-", "has no checkpoint yet"),
    ),
    Kind("checkpoints' tensors", TENSORS, _resume, 700, source="run", seal=_sum_checkpoint, changes=True),
    Kind(
        "checkpoints' states",
        [STATE],
        _resume,
        700,
        source="run",
        seal=_sum_checkpoint,
        names=("step-00000002",),
        changes=True,
    ),
    Kind("sidecars in galleries", ["0.json"], _show, 300, source="clips"),
    Kind("clips in galleries", ["0.wav"], _show, 300, source="clips"),
    Kind("sidecars of jobs", ["0.json"], _plan_again, 1500, source="clips", names=("0.wav",)),
    Kind("saved samplers", PARTS, _restore, 2000, make=_unpack, seal=_pack, names=("sampler.npz",)),
    *(
        Kind(
            f"recordings for {what}: {name}",
            [f"a.{name}"],
            use,
            250,
            make=partial(_record, name=f"a.{name}"),
            names=("folder: holds no recordings", "folder: every recording is silent"),
        )
        for what, use in (("corpora", _prepare), ("primes", _prime))
        for name in ("wav", "flac", "ogg", "mp3", "aiff")
    ),
    Kind("plans", PLAN_FILES, _find_plan, 700, make=_keep_plan),
    Kind("what may be replaced", ["made/made.json", "scores.json"], _replace, 700, make=_made, names=("made: ",)),
]


@pytest.mark.parametrize(
    "many",
    [
        pytest.param(False, id="few"),
        pytest.param(True, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hostile_file_works_or_is_refused_by_name(
    kind: Kind, many: bool, samples: Samples, tally: Tally, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The quick half tries the same ones every time; the slow half, others, or those of --hypothesis-seed."""
    folder = tmp_path / "folder"
    if kind.source:
        shutil.copytree(getattr(samples, kind.source), folder)
    else:
        folder.mkdir()
    kind.make(folder, samples)
    healthy = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not receive(partial(kind.use, folder, samples), folder, [], may_change=kind.changes)

    @settings(
        max_examples=kind.many if many else FEW,
        deadline=None,
        database=None,
        derandomize=not many,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        shutil.rmtree(folder)
        for path, content in healthy.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        name = data.draw(st.sampled_from(kind.files), "file")
        if draw_damage(data, folder / name):
            kind.seal(folder, name)
        receive(partial(kind.use, folder, samples), folder, [Path(name).name, *kind.names], may_change=kind.changes)
        tally.count(f"hostile files: {kind.name.partition(':')[0]}")

    check()
    assert capfd.readouterr() == ("", "")
