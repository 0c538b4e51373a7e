"""One training step: what it does to the weights, and what it must not do."""

from typing import cast

import pytest
import torch

from slash_infer.errors import UserError
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.loader import Loader
from slash_train.model import SampleRNN
from slash_train.optimiser import Optimiser
from slash_train.streams import TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

CPU = torch.device("cpu")


def _weights(trainer: Trainer) -> list[torch.Tensor]:
    models = [trainer.model] if trainer.ema is None else [trainer.model, trainer.ema.model]
    return [parameter.detach().clone() for model in models for parameter in model.parameters()]


@pytest.fixture(name="preset", params=["adam", "muon"])
def _preset(request: pytest.FixtureRequest) -> Preset:
    return load_preset("tiny", ["training.ema_decay=0.9", f"training.optimiser={request.param}"])


def test_a_step_changes_every_weight(corpus: Corpus, preset: Preset) -> None:
    trainer = Trainer(preset, CPU, Workers())
    before = _weights(trainer)
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        for _ in range(3):
            trainer.advance(loader.next())
    assert all(not torch.equal(a, b) for a, b in zip(before, _weights(trainer), strict=True))


def test_after_a_gradient_that_is_not_finite_nothing_is_updated(corpus: Corpus, preset: Preset) -> None:
    """Neither by that step nor by the good ones after it; the message names the step and its recordings."""
    trainer = Trainer(preset, CPU, Workers())
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        for _ in range(3):
            trainer.advance(loader.next())
        before, good = _weights(trainer), [part.clone() for part in trainer.rnn_state]
        trainer.rnn_state[0][:] = torch.nan
        batch = loader.next()
        trainer.advance(batch)
        trainer.rnn_state = good
        trainer.advance(loader.next())
    count, after = len(list(trainer.model.parameters())), _weights(trainer)
    assert all(torch.equal(a, b) for a, b in zip(before[:count], after[:count], strict=True))
    assert all(weights.isfinite().all() for weights in after)
    files = ", ".join(batch.draw.recordings)
    with pytest.raises(UserError, match=f"the gradient of step 4 is not finite, on windows of {files}"):
        trainer.require_finite()


def test_a_large_gradient_is_clipped(corpus: Corpus) -> None:
    """With plain SGD, the weights move by the learning rate times the largest norm allowed."""
    preset = load_preset("tiny", ["training.clip_norm=0.01"])
    trainer = Trainer(preset, CPU, Workers())
    trainer.optimiser = cast("Optimiser", _PlainSgd(trainer.model))
    before = _weights(trainer)
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        trainer.advance(loader.next())
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, _weights(trainer), strict=True)]).norm()
    assert moved.item() == pytest.approx(0.01 * preset.training.learning_rate, rel=1e-2)


class _PlainSgd:
    def __init__(self, model: SampleRNN) -> None:
        self._sgd = torch.optim.SGD(model.parameters(), lr=1.0)

    def step(self, rate: float, skip: torch.Tensor) -> None:
        assert not skip
        self._sgd.param_groups[0]["lr"] = rate * load_preset("tiny").training.learning_rate
        self._sgd.step()
