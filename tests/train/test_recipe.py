"""Learning-rate schedules, the EMA, kept checkpoints, and the presets' sizes."""

import pytest
import torch

from slash_infer.codec import Codec
from slash_train.checkpoint_store import spaced
from slash_train.config import ModelConfig, TrainingConfig, load_preset, preset_names
from slash_train.ema import EMA
from slash_train.model import SampleRNN
from slash_train.schedule import rate_factor


def test_constant_with_warm_up() -> None:
    recipe = TrainingConfig(warmup_steps=4)
    assert [rate_factor(recipe, step, 0.0) for step in (0, 1, 3, 4, 10**6)] == [0.25, 0.5, 1, 1, 1]
    assert rate_factor(TrainingConfig(), 0, 0.999) == 1


def test_the_cool_down_falls_to_nothing_at_the_end_of_the_training() -> None:
    recipe = TrainingConfig(cooldown=0.4, warmup_steps=10)
    assert [rate_factor(recipe, 100, done) for done in (0.0, 0.6, 0.7, 0.9, 1.0, 1.5)] == pytest.approx(
        [1, 1, 0.75, 0.25, 0, 0]
    )
    assert rate_factor(recipe, 4, 0.8) == pytest.approx(0.25)  # both at once
    assert rate_factor(TrainingConfig(cooldown=1.0), 0, 0.25) == 0.75


def test_the_decay_needs_no_end() -> None:
    recipe = TrainingConfig(decay_after=100)
    assert [rate_factor(recipe, step, 0.0) for step in (0, 98, 99, 399, 9999)] == pytest.approx([1, 1, 1, 0.5, 0.1])
    assert rate_factor(recipe, 399, 0.9) == pytest.approx(0.5)
    assert rate_factor(TrainingConfig(decay_after=100, cooldown=0.4), 399, 0.8) == pytest.approx(0.25)  # both at once


def test_the_ema_is_exponential_and_forgets_the_start() -> None:
    model = SampleRNN(ModelConfig(hops=(2,), rnn_layers=1, width=4, embedding=2), Codec(levels=4))
    ema = EMA(model, 0.9)
    parameter, averaged = next(model.parameters()), next(ema.model.parameters())
    expected = parameter.detach().clone()
    for step in range(1, 200):
        parameter.data.fill_(float(step))
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert torch.allclose(averaged, expected)
    assert averaged.mean() == pytest.approx(199 - 9, abs=0.1)  # a ramp lags by decay / (1 - decay)


def test_the_history_stays_spread_as_it_grows() -> None:
    kept: set[int] = set()
    for step in range(100, 10_001, 100):
        kept = spaced([*kept, step], keep=4, every=100)
        assert len(kept) <= 4
    assert kept == {3200, 6400, 9600} | ({9600} & kept)
    assert spaced([100, 200, 250], keep=5, every=100) == {100, 200}
    assert spaced([100, 200], keep=0, every=100) == set()
    assert spaced([], keep=3, every=100) == set()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_a_model_of_its_size(name: str) -> None:
    preset = load_preset(name)
    with torch.device("meta"):
        model = SampleRNN(preset.model, preset.audio.codec)
        length = 2 * preset.model.top_hop
        codes = torch.zeros((1, preset.model.context + length), dtype=torch.long)
        logits, _ = model(codes, model.initial_state(1))
    assert logits.shape == (1, length, preset.audio.codec.levels)


def test_the_papers_presets_are_its_best_hyperparameters() -> None:
    two, three = load_preset("paper-2tier"), load_preset("paper-3tier")
    for preset, hops, layers, window in ((two, (16,), 3, 1024), (three, (2, 8), 1, 512)):
        shape = preset.model
        assert (shape.hops, shape.rnn_layers, shape.width, shape.embedding) == (hops, layers, 1024, 256)
        assert (shape.frame_sizes, shape.history) == (hops, hops[0])
        assert shape.cell == "gru" and shape.weight_norm and not shape.skip_connections
        assert (preset.audio.codec.kind, preset.audio.codec.levels) == ("linear", 256)
        assert (preset.training.window, preset.training.batch_size) == (window, 128)
