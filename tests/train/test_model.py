"""The model: shapes, causality, carried state, and the sum of table rows against the layers as in the paper."""

import copy

import numpy as np
import pytest
import torch

from slash_infer.codec import Codec
from slash_train.config import ModelConfig, load_preset
from slash_train.model import SampleRNN
from slash_train.trainer import products_pay

CONFIGS = {
    "two tiers": ModelConfig(hops=(8,), rnn_layers=2, width=12, embedding=5),
    "three tiers": ModelConfig(hops=(2, 8), rnn_layers=1, width=12, embedding=5),
    "four tiers": ModelConfig(hops=(2, 4, 16), rnn_layers=1, width=8, embedding=4, mlp_layers=2),
    "GRU, weight norm": ModelConfig(hops=(2, 8), cell="gru", width=12, embedding=5, weight_norm=True),
    "skip connections": ModelConfig(hops=(4, 8), rnn_layers=3, width=12, embedding=5, skip_connections=True),
    "window-rnn": ModelConfig(hops=(1,), frame_sizes=(8,), rnn_layers=2, width=12, mlp_layers=0),
    "frame-rnn": ModelConfig(hops=(8,), cell="gru", rnn_layers=2, width=12, mlp_layers=0),
    "wide frames, a long history": ModelConfig(
        hops=(2, 8), frame_sizes=(12, 9), history=15, rnn_layers=1, width=12, embedding=5
    ),
    "a history of one code": ModelConfig(hops=(4,), history=1, rnn_layers=1, width=12, embedding=5),
    "a history between the hops": ModelConfig(
        hops=(2, 8), frame_sizes=(2, 20), history=5, rnn_layers=1, width=12, embedding=5
    ),
    "wide frames without a sample tier": ModelConfig(
        hops=(2, 4), frame_sizes=(7, 4), rnn_layers=1, width=12, mlp_layers=0
    ),
}
LEVELS = 32


@pytest.fixture(params=CONFIGS, name="model")
def _model(request: pytest.FixtureRequest) -> SampleRNN:
    torch.manual_seed(0)
    model = SampleRNN(CONFIGS[request.param], Codec(levels=LEVELS)).double()
    for parameter in model.parameters():  # no zeros: an unused bias or initial state must show
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def _codes(model: SampleRNN, clips: int, samples: int) -> torch.Tensor:
    return torch.randint(0, LEVELS, (clips, model.config.context + samples))


def test_shapes(model: SampleRNN) -> None:
    logits, state = model(_codes(model, 3, 32), model.initial_state(3))
    assert logits.shape == (3, 32, LEVELS)
    config = model.config
    parts = 2 if config.cell == "lstm" else 1
    assert [s.shape for s in state] == [(parts, config.rnn_layers, 3, config.width)] * len(config.hops)


def test_a_future_sample_never_changes_a_past_logit(model: SampleRNN) -> None:
    codes, context = _codes(model, 1, 32), model.config.context
    before, _ = model(codes, model.initial_state(1))
    for t in range(32):
        changed = codes.clone()
        changed[:, context + t] = (changed[:, context + t] + 7) % LEVELS
        after, _ = model(changed, model.initial_state(1))
        assert torch.equal(before[:, : t + 1], after[:, : t + 1]), f"sample {t} reaches into its own past"
        hop = model.config.top_hop  # without a sample tier, the samples of one step are independent of each other
        reaches_next = model.sample_tier is not None or (t + 1) % hop == 0
        if t < 31 and reaches_next:
            assert not torch.equal(before[:, t + 1], after[:, t + 1]), f"sample {t} does not reach the next"


def test_every_sample_of_the_history_matters(model: SampleRNN) -> None:
    context = model.config.context
    codes = _codes(model, 1, model.config.top_hop)
    before, _ = model(codes, model.initial_state(1))
    for t in range(context):
        changed = codes.clone()
        changed[:, t] = (changed[:, t] + 7) % LEVELS
        after, _ = model(changed, model.initial_state(1))
        assert not torch.equal(before, after)


def test_two_windows_with_carried_state_equal_one(model: SampleRNN) -> None:
    codes, context = _codes(model, 2, 64), model.config.context
    whole, _ = model(codes, model.initial_state(2))
    first, state = model(codes[:, : context + 32], model.initial_state(2))
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
    after = model.restart(state, torch.tensor([True, False, False]))
    for now, initial, before in zip(after, fresh, state, strict=True):
        assert torch.equal(now[:, :, 0], initial[:, :, 0])
        assert torch.equal(now[:, :, 1:], before[:, :, 1:])


WITH_SAMPLE_TIER = [name for name, config in CONFIGS.items() if config.mlp_layers]


@pytest.mark.parametrize("model", WITH_SAMPLE_TIER, indirect=True)
@pytest.mark.parametrize("folded", [False, True])
def test_gather_and_sum_equals_the_plain_layers(model: SampleRNN, folded: bool) -> None:
    """Forward and gradient of the whole model against embed, flatten, multiply (paper, eq. 5), L2 folded or not."""
    codes = _codes(model, 3, 32)
    plain = copy.deepcopy(model)
    assert model.sample_tier is not None and plain.sample_tier is not None
    plain.sample_tier.multiplies = True
    model.sample_tier.folding_pays = lambda samples: folded  # type: ignore[method-assign]  # noqa: ARG005
    expected, _ = plain(codes, plain.initial_state(3))
    actual, _ = model(codes, model.initial_state(3))
    assert torch.allclose(actual, expected, atol=1e-11)

    weights = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((logits * weights).sum(), list(each.parameters()))
        for logits, each in ((actual, model), (expected, plain))
    ]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-9)


def test_l2_is_folded_where_it_is_cheaper() -> None:
    """Preset `slash`: L2 is applied 16 * (256 + 1024) times when folded, otherwise once per sample."""
    model = SampleRNN(load_preset("slash", ["model.rnn_layers=1"]).model, Codec())
    assert model.sample_tier is not None
    assert model.sample_tier.folding_pays(64 * 1024) and not model.sample_tier.folding_pays(8 * 1024)


def test_products_are_taken_where_they_pay() -> None:
    """By wide models in bf16 on a GPU."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert products_pay(gpu, 1024, is_bf16=True)
    assert not any(
        products_pay(device, width, is_bf16=is_bf16)
        for device, width, is_bf16 in ((cpu, 1024, True), (gpu, 256, True), (gpu, 1024, False))
    )


def test_bf16_is_near_fp32() -> None:
    """Products in bfloat16 have three digits; state and gradients stay float32."""
    torch.manual_seed(0)
    model = SampleRNN(ModelConfig(hops=(4, 16), rnn_layers=1, width=64, embedding=16), Codec())
    codes = torch.randint(0, 256, (4, 16 + 64))
    exact, _ = model(codes, model.initial_state(4))
    with torch.autocast("cpu", torch.bfloat16):
        rough, state = model(codes, model.initial_state(4))
    rough.float().logsumexp(-1).mean().backward()
    assert (rough - exact).abs().max() < 0.05 * exact.std()
    assert {part.dtype for part in state} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None} == {torch.float32}


def test_initialisation_keeps_the_scale() -> None:
    """He and LeCun: in every shape activations neither explode nor vanish, and predictions are nearly uniform."""
    for preset in ("live", "tiny", "demo"):
        torch.manual_seed(0)
        model = SampleRNN(load_preset(preset).model, Codec())
        logits, _ = model(torch.randint(0, 256, (4, model.config.context + 256)), model.initial_state(4))
        assert 0.1 < logits.std() < 4


def test_every_parameter_learns(model: SampleRNN) -> None:
    logits, _ = model(_codes(model, 4, 64), model.initial_state(4))
    logits.logsumexp(-1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_frame_tiers_see_linear_codes_evenly_spaced_as_in_the_papers_code(levels: int) -> None:
    codes = torch.arange(levels)
    expected = 4 * codes.double() / (levels - 1) - 2
    assert torch.allclose(_small(Codec(kind="linear", levels=levels)).samples.double(), expected, atol=1e-6)


def test_frame_tiers_see_the_samples_that_mu_law_codes_stand_for() -> None:
    codec = Codec()
    samples = _small(codec).samples
    assert samples.numpy() == pytest.approx(4 * codec.decode(np.arange(256)))
    assert samples[codec.silence].abs() < 1e-3 and samples[200] < 1 < samples.max()


@pytest.mark.parametrize("width", [1, 2, 3, 64])
def test_at_first_the_embeddings_of_nearby_codes_are_alike(width: int) -> None:
    config = ModelConfig(hops=(2,), rnn_layers=1, width=4, embedding=width)
    sample_tier = SampleRNN(config, Codec()).sample_tier
    assert sample_tier is not None
    embedding = sample_tier.embedding.weight.detach()
    assert embedding.shape == (256, width)
    assert (embedding[1:] - embedding[:-1]).square().mean() < 0.1 * embedding.square().mean()
    assert embedding.abs().max() <= 4


def _small(codec: Codec) -> SampleRNN:
    return SampleRNN(ModelConfig(hops=(2,), rnn_layers=1, width=4, embedding=2), codec)


def test_the_slash_preset_has_its_exact_numbers() -> None:
    preset = load_preset("slash")
    shape = ModelConfig(hops=(16,), frame_sizes=(512,), rnn_layers=3, width=1024, embedding=256, mlp_layers=3)
    assert preset.model == shape
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
