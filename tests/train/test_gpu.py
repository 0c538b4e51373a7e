"""Training on a GPU."""

import warnings

import pytest
import torch

from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.loader import Loader
from slash_train.streams import TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="gpu: PyTorch sees no NVIDIA GPU"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_never_waits_for_the_device(corpus: Corpus, precision: str) -> None:
    preset = load_preset("tiny", [f"training.precision={precision}", "training.ema_decay=0.99"])
    device = torch.device("cuda")
    trainer = Trainer(preset, device, Workers())
    with Loader(TrainingStream(corpus, preset), device) as loader:
        for _ in range(3):
            trainer.advance(loader.next())
        try:
            with warnings.catch_warnings(category=UserWarning, action="ignore"):  # "a prototype feature"
                torch.cuda.set_sync_debug_mode("error")
            for _ in range(10):
                trainer.advance(loader.next())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    trainer.require_finite()


def test_the_gpu_learns_what_the_cpu_learns(corpus: Corpus) -> None:
    preset = load_preset("tiny")
    losses = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        trainer = Trainer(preset, device, Workers())
        with Loader(TrainingStream(corpus, preset), device) as loader:
            for _ in range(20):
                trainer.advance(loader.next())
        losses.append(trainer.measure(1.0, 20).train_bits)
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
