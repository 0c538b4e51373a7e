"""One step of training: what it does to the weights, and what it must not."""

import pytest
import torch

from slash_infer.errors import UserError
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.loader import Loader
from slash_train.streams import TrainingStream
from slash_train.trainer import Trainer
from slash_train.workers import Workers

CPU = torch.device("cpu")


def _weights(training: Trainer) -> list[torch.Tensor]:
    average = training.ema_decay
    models = [training.model] if average is None else [training.model, average.model]
    return [parameter.detach().clone() for model in models for parameter in model.parameters()]


@pytest.fixture(name="preset")
def _preset() -> Preset:
    return load_preset("tiny", ["training.ema_decay=0.9"])


def test_a_step_changes_every_weight(corpus: Corpus, preset: Preset) -> None:
    training = Trainer(preset, CPU, Workers())
    before = _weights(training)
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        for _ in range(3):
            training.advance(loader.next())
    assert all(not torch.equal(a, b) for a, b in zip(before, _weights(training), strict=True))


def test_after_a_gradient_that_is_not_finite_nothing_is_updated(corpus: Corpus, preset: Preset) -> None:
    """Neither by that step nor by the sound ones after it; then its number and its files are named."""
    training = Trainer(preset, CPU, Workers())
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        for _ in range(3):
            training.advance(loader.next())
        before, sound = _weights(training), [part.clone() for part in training.state]
        training.state[0][:] = torch.nan
        batch = loader.next()
        training.advance(batch)
        training.state = sound
        training.advance(loader.next())
    newest, averaged = len(list(training.model.parameters())), _weights(training)
    assert all(torch.equal(a, b) for a, b in zip(before[:newest], averaged[:newest], strict=True))
    assert all(weights.isfinite().all() for weights in averaged)
    files = ", ".join(batch.draw.recordings)
    with pytest.raises(UserError, match=f"the gradient of step 4 is not finite, on windows of {files}"):
        training.require_finite()


def test_a_large_gradient_is_clipped(corpus: Corpus) -> None:
    """With plain descent, the whole change of the weights is learning rate times the largest norm allowed."""
    preset = load_preset("tiny", ["training.clip_norm=0.01"])
    training = Trainer(preset, CPU, Workers())
    training.optimiser = torch.optim.SGD(training.model.parameters(), lr=1.0, fused=True)  # type: ignore[assignment]
    before = _weights(training)
    with Loader(TrainingStream(corpus, preset), CPU) as loader:
        training.advance(loader.next())
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, _weights(training), strict=True)]).norm()
    assert moved.item() == pytest.approx(0.01 * preset.training.learning_rate, rel=1e-2)
