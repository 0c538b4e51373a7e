"""The model: shapes, causality, carried state, and the gather-and-sum against the layers as the paper has them."""

import pytest
import torch
from torch.nn import functional

from slash_train.config import ModelConfig, load_preset
from slash_train.model import SampleRNN, frame_values

CONFIGS = {
    "two tiers": ModelConfig(frame_sizes=(8,), rnn_layers=2, width=12, embedding=5),
    "three tiers": ModelConfig(frame_sizes=(2, 8), rnn_layers=1, width=12, embedding=5),
    "four tiers": ModelConfig(frame_sizes=(2, 4, 16), rnn_layers=1, width=8, embedding=4, mlp_layers=2),
}
LEVELS = 32


@pytest.fixture(params=CONFIGS, name="model")
def _model(request: pytest.FixtureRequest) -> SampleRNN:
    torch.manual_seed(0)
    model = SampleRNN(CONFIGS[request.param], LEVELS).double()
    for parameter in model.parameters():  # no zeros: a bias or an initial state left unused must show
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def _codes(model: SampleRNN, clips: int, samples: int) -> torch.Tensor:
    return torch.randint(0, LEVELS, (clips, model.config.top_frame + samples))


def test_shapes(model: SampleRNN) -> None:
    logits, state = model(_codes(model, 3, 32), model.initial_state(3))
    assert logits.shape == (3, 32, LEVELS)
    config = model.config
    assert [h.shape for h, _ in state] == [(config.rnn_layers, 3, config.width)] * len(config.frame_sizes)


def test_a_future_sample_never_changes_a_past_logit(model: SampleRNN) -> None:
    codes, top = _codes(model, 1, 32), model.config.top_frame
    before, _ = model(codes, model.initial_state(1))
    for t in range(32):
        changed = codes.clone()
        changed[:, top + t] = (changed[:, top + t] + 7) % LEVELS
        after, _ = model(changed, model.initial_state(1))
        assert torch.equal(before[:, : t + 1], after[:, : t + 1]), f"sample {t} reaches into its own past"
        if t < 31:
            assert not torch.equal(before[:, t + 1], after[:, t + 1]), f"sample {t} is not heard by the next"


def test_every_sample_of_the_history_is_heard(model: SampleRNN) -> None:
    top = model.config.top_frame
    codes = _codes(model, 1, top)
    before, _ = model(codes, model.initial_state(1))
    for t in range(top):
        changed = codes.clone()
        changed[:, t] = (changed[:, t] + 7) % LEVELS
        after, _ = model(changed, model.initial_state(1))
        assert not torch.equal(before, after)


def test_two_windows_with_carried_state_equal_one(model: SampleRNN) -> None:
    codes, top = _codes(model, 2, 64), model.config.top_frame
    whole, _ = model(codes, model.initial_state(2))
    first, state = model(codes[:, : top + 32], model.initial_state(2))
    second, _ = model(codes[:, 32:], state)
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-12)


def test_clips_do_not_mix(model: SampleRNN) -> None:
    codes = _codes(model, 4, 32)
    together, _ = model(codes, model.initial_state(4))
    alone, _ = model(codes[2:3], model.initial_state(1))
    assert torch.allclose(together[2:3], alone, atol=1e-12)


def test_restart_touches_only_the_starting_clips(model: SampleRNN) -> None:
    _, state = model(_codes(model, 3, 32), model.initial_state(3))
    fresh = model.initial_state(3)
    for (h, c), (h0, c0), (old_h, old_c) in zip(
        model.restart(state, torch.tensor([True, False, False])), fresh, state, strict=True
    ):
        assert torch.equal(h[:, 0], h0[:, 0]) and torch.equal(c[:, 0], c0[:, 0])
        assert torch.equal(h[:, 1:], old_h[:, 1:]) and torch.equal(c[:, 1:], old_c[:, 1:])


def test_gather_and_sum_equals_embedding_and_linear_layer(model: SampleRNN) -> None:
    """The first layer by table, forward and gradient, against embed, flatten, multiply (paper, eq. 5)."""
    tier, samples = model.sample_tier, 20
    codes = torch.randint(0, LEVELS, (3, tier.history + samples - 1))
    conditioning = torch.randn(3, samples, model.config.width, dtype=torch.double)

    windows = codes.unfold(1, tier.history, 1)
    x = tier.embedding(windows).flatten(2) @ tier.first.flatten(0, 1) + conditioning
    for linear in tier.hidden:
        x = functional.relu(linear(x))
    plain = tier.output(x)
    by_table = tier(codes, conditioning)
    assert torch.allclose(by_table, plain, atol=1e-12)

    weights = torch.randn_like(plain)
    parameters = list(tier.parameters())
    for a, b in zip(
        torch.autograd.grad((by_table * weights).sum(), parameters),
        torch.autograd.grad((plain * weights).sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-11)


def test_every_parameter_learns(model: SampleRNN) -> None:
    logits, _ = model(_codes(model, 4, 64), model.initial_state(4))
    logits.logsumexp(-1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_frame_values_of_every_code(levels: int) -> None:
    codes = torch.arange(levels)
    expected = 4 * codes.double() / (levels - 1) - 2
    assert torch.allclose(frame_values(codes, levels).double(), expected, atol=1e-6)


def test_the_slash_preset_has_its_exact_numbers() -> None:
    preset = load_preset("slash")
    assert preset.model == ModelConfig(frame_sizes=(16,), rnn_layers=3, width=1024, embedding=256, mlp_layers=3)
    assert (preset.audio.sample_rate, preset.audio.codec.kind, preset.audio.codec.levels) == (
        16_000,
        "mu-law",
        256,
    )
    recipe = preset.training
    assert (recipe.batch_size, recipe.window, recipe.learning_rate, recipe.clip_norm) == (
        64,
        1024,
        1e-3,
        1.25,
    )
