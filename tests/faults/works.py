"""The commands that write something, as small as can be, and what must hold of their outputs at any moment."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from fault_samples import SMALL, Samples

from slash_infer.bundle import Bundle
from slash_infer.clips.sidecar import Sidecar, sidecar_path
from slash_infer.runtimes.plan_cache import PlanCache, PlanKey
from slash_infer.sampling.sampler import Sampler
from slash_train.corpus import Corpus
from slash_train.run import Run

CHANGES = " ".join(f"--set {change}" for change in SMALL)
INPUTS = ("takes", "corpus", "run", "bundle", "clips")


@dataclass(frozen=True)
class Work:
    """A command, or a function, that makes an output in the working directory."""

    name: str
    command: str | Callable[[], object]
    read: Callable[[], object]
    """Checks that what is there of the output is whole, all of it or none."""
    again: str | None = None
    """The command where there is some output already; None if it is the same."""
    old: Callable[[Samples], object] | None = None
    """Makes the old output, which the command replaces or continues."""
    out: str = "out"
    """What is there when it is done."""


def furnish(work: Work, place: Path, samples: Samples) -> None:
    """Make a working directory, with links to all inputs."""
    place.mkdir(exist_ok=True)
    (place / "tmp").mkdir()
    for name in INPUTS:
        (place / name).symlink_to(getattr(samples, name))
    if work.old is not None:
        here = Path.cwd()
        os.chdir(place)
        work.old(samples)
        os.chdir(here)


def next_command(work: Work, place: Path) -> str | Callable[[], object]:
    """Return what somebody would do next."""
    return work.command if work.again is None or not os.path.lexists(place / work.out) else work.again


def require_whole(work: Work, place: Path, *, done: bool) -> None:
    """Check that the old output is there, or the new one, or, if there was no old one and it is not done, none."""
    here = Path.cwd()
    os.chdir(place)
    try:
        if done or work.old is not None:
            assert os.path.lexists(work.out), f"{work.out} is gone"
        work.read()
    finally:
        os.chdir(here)


def leftovers(place: Path) -> list[str]:
    """Return what no command may leave when it ends by itself."""
    return sorted(str(path.relative_to(place)) for path in place.rglob(".*"))


def _read_corpus() -> None:
    if Path("out").exists():
        assert len(Corpus(Path("out")).pcm) == 24_000
        assert sorted(path.name for path in Path("out").iterdir()) == ["corpus.json", "samples.npy"]


def _read_run() -> None:
    if Path("out").exists():
        run = Run(Path("out"))
        assert all(metrics.step <= 4 for metrics in run.metrics())
        if not run.checkpoints.is_empty():
            assert 0 < run.load_model("best").step <= run.load_model("last").step <= 4


def _read_begun() -> None:
    """A run that begins with weights has them from the moment it appears."""
    if Path("out").exists():
        run = Run(Path("out"))
        assert len(run.metadata.ancestors) == 1
        assert run.load_model("last").step <= 2


def _read_bundle() -> None:
    if Path("out").exists():
        bundle = Bundle(Path("out"))
        assert bundle.manifest.parity is not None
        with Sampler(bundle, engine="cpu", precision="fp32") as sampler:
            sampler.codes(16)


def _read_clips() -> None:
    for clip in Path("out").glob("*.wav"):
        _read_clip(clip)


def _read_one_clip() -> None:
    if Path("out.wav").exists():
        _read_clip(Path("out.wav"))


def _read_clip(clip: Path) -> None:
    """The sidecar of a clip that another one replaces goes first."""
    samples, _ = soundfile.read(clip)
    if sidecar_path(clip).exists():
        outcome = Sidecar.read(sidecar_path(clip)).outcome
        assert len(samples) == round(outcome.seconds * 16_000)


def _read_gallery() -> None:
    if Path("out").exists():
        assert json.loads(Path("out", "gallery.json").read_text())["made_by"] == "slash gallery"
        assert Path("out", "index.html").read_text().rstrip().endswith("</html>")


def _read_audition() -> None:
    if Path("out").exists():
        assert sum(1 for _ in Path("out").rglob("*.wav")) == sum(1 for _ in Path("out").rglob("clip*.json")) > 0
        for clip in Path("out").rglob("*.wav"):
            _read_clip(clip)


def _read_scores() -> None:
    if Path("out.json").exists():
        assert json.loads(Path("out.json").read_text())["made_by"] == "slash evaluate"


def _save_sampler() -> None:
    with Sampler(Bundle(Path("bundle")), 2, engine="cpu", seed=5) as sampler:
        sampler.codes(100)
        sampler.save("out.npz")


def _read_sampler() -> None:
    if Path("out.npz").exists():
        with Sampler.restore("out.npz", Bundle(Path("bundle")), engine="cpu") as sampler:
            assert np.isfinite(sampler.bits).all()
            sampler.codes(16)


PLAN = PlanKey("1" * 64, "tensorrt", "11", "gpu", "9.0", "13", 1, (1, 8, 1024))


def _keep_plan() -> None:
    os.environ["XDG_CACHE_HOME"] = os.path.abspath("out")  # noqa: PTH100
    plan, _ = PlanCache().find_or_build([PLAN], lambda: b"a plan" * 1000)
    assert plan == b"a plan" * 1000


def _read_plan() -> None:
    os.environ["XDG_CACHE_HOME"] = os.path.abspath("out")  # noqa: PTH100
    if Path("out/slash/plans").exists():
        assert PlanCache().find(PLAN) in (None, b"a plan" * 1000)


def _old(name: str) -> Callable[[Samples], object]:
    return lambda samples: shutil.copytree(getattr(samples, name), "out")


def _old_clip(samples: Samples) -> None:
    for suffix in (".wav", ".json"):
        shutil.copy(samples.clips / f"0{suffix}", f"out{suffix}")


def _old_gallery(_: Samples) -> None:
    Path("out").mkdir()
    Path("out", "gallery.json").write_text('{"made_by": "slash gallery"}')
    Path("out", "index.html").write_text("<html></html>")


def _old_scores(_: Samples) -> None:
    Path("out.json").write_text('{"made_by": "slash evaluate"}')


PREPARE = "prepare takes --out out"
BEGIN = f"train corpus --out out --init-from run --preset tiny --steps 2 {CHANGES}"
TRAIN = f"train corpus --out out --preset tiny --steps 2 {CHANGES}"
EXPORT = "export run --out out --precision fp32"
CLIPS = "generate bundle --out out -n 2 --seconds 0.05 --seed 1 --engine cpu"
ONE_CLIP = "generate bundle --out out.wav --seconds 0.1 --seed 2 --engine cpu --normalise peak"
BEST = "generate bundle --out out -n 1 --best-of 3 --seconds 0.05 --seed 1 --engine cpu"
GALLERY = "gallery clips --out out"
AUDITION = "audition run --out out -n 1 --seconds 0.1"
SCORES = "evaluate bundle corpus --split train --json out.json"
RESUME = "train corpus --out out --resume --steps 4"
WORKS = [
    Work("prepare", PREPARE, _read_corpus, again=f"{PREPARE} --force"),
    Work("prepare --force", f"{PREPARE} --force", _read_corpus, old=_old("corpus")),
    Work("train", TRAIN, _read_run, again="train corpus --out out --resume --steps 2"),
    Work("train --init-from", BEGIN, _read_begun, again="train corpus --out out --resume --steps 2"),
    Work("train --resume", RESUME, _read_run, old=lambda samples: shutil.copytree(samples.run, "out")),
    Work("export", EXPORT, _read_bundle, again=f"{EXPORT} --force"),
    Work("generate clips", CLIPS, _read_clips),
    Work("generate --force", f"{ONE_CLIP} --force", _read_one_clip, old=_old_clip, out="out.wav"),
    Work("generate --best-of", BEST, _read_clips, again=f"{BEST} --force"),
    Work("gallery", GALLERY, _read_gallery, again=f"{GALLERY} --force"),
    Work("gallery --force", f"{GALLERY} --force", _read_gallery, old=_old_gallery),
    Work("audition", AUDITION, _read_audition, again=f"{AUDITION} --force"),
    Work("evaluate --json", f"{SCORES} --force", _read_scores, old=_old_scores, out="out.json"),
    Work("save a sampler", _save_sampler, _read_sampler, out="out.npz"),
    Work("keep a plan", _keep_plan, _read_plan),
]
