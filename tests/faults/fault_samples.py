"""One of everything that Slash makes and reads, as small as can be: made once per session, in a second or two."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from slash_infer.bundle import Bundle
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.prepare import prepare

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-bundle"
SMALL = (
    *("model.width=8", "model.embedding=8", "audio.codec.levels=16", "training.batch_size=2", "training.window=64"),
    *("training.clip_seconds=0.1", "training.valid_seconds=0.1", "training.ema_decay=0.9", "training.keep=1"),
    *("training.preview_clips=0", "training.warmup_steps=2"),
)


@dataclass(frozen=True)
class Samples:
    """Folders with a sample of everything."""

    takes: Path
    """Three recordings."""
    corpus: Path
    run: Path
    """Two steps of training."""
    bundle: Path
    clips: Path
    """Two clips of the bundle."""
    sampler: Path
    """Two more clips of it, begun."""


@pytest.fixture(scope="session", name="samples")
def _samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    place = tmp_path_factory.mktemp("samples")
    samples = Samples(*(place / name for name in ("takes", "corpus", "run", "bundle", "clips", "sampler.npz")))
    samples.takes.mkdir()
    for i in range(3):
        soundfile.write(samples.takes / f"{i}.wav", 0.5 * np.sin((i + 1) * np.arange(8000) / 10), 16_000)
    prepare([samples.takes], samples.corpus)
    preset = load_preset("tiny", SMALL)
    loop.train(
        Corpus(samples.corpus),
        samples.run,
        "tiny",
        preset,
        limits=loop.Limits(2),
        context=loop.TrainContext(torch.device("cpu")),
    )
    shutil.copytree(EXAMPLE, samples.bundle)
    samples.clips.mkdir()
    bundle = Bundle(samples.bundle)
    engine = Engine(bundle, OnnxCpu())
    specs = [ClipSpec(samples.clips / f"{i}.wav", i) for i in range(2)]
    render(bundle, engine, specs, RenderOptions(0.05, seed=1))
    with Sampler(bundle, 2, engine=engine, temperature=0.9) as sampler:
        sampler.codes(30)
        sampler.save(samples.sampler)
    return samples
