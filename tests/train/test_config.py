"""Presets are strict, and the message about a misspelt name suggests the nearest existing one."""

import pytest

from slash_infer.errors import UserError
from slash_train.config import load_preset, parse_preset, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_survives_json(name: str) -> None:
    preset = load_preset(name)
    assert parse_preset(preset.model_dump(mode="json"), source="json") == preset


def test_overrides() -> None:
    preset = load_preset("tiny", ["training.batch_size=3", "model.hops=[8]", "audio.codec.kind=linear"])
    assert preset.training.batch_size == 3
    assert (preset.model.hops, preset.model.frame_sizes, preset.model.history) == ((8,), (8,), 8)
    assert preset.audio.codec.kind == "linear"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.batchsize=8", "did you mean 'training.batch_size'"),
        ("batch_size=8", "did you mean 'training.batch_size'"),
        ("training.batch_size", "write it as key=value"),
        ("training.batch_size=many", "training.batch_size: Input should be a valid integer"),
        ("training.batch_size=0", "greater than or equal to 1"),
        ("training.batch_size=true", "valid integer"),
        ("training.window=1000", "multiple of the top tier's hop, 16"),
        ("model.hops=[3,16]", "model: hops must grow from the lowest tier up, each dividing the next"),
        ("model.hops=[16,4]", "each dividing the next"),
        ("model.hops=[4,4]", "each dividing the next"),
        ("model.hops=[]", "at least 1 item"),
        ("model.hops=[4.5]", "model.hops.0: Input should be a valid integer"),
        ("model.hops=[-4,16]", "model.hops.0: Input should be greater than or equal to 1"),
        ("model.hops=16", "model.hops: Input should be a valid tuple"),
        ("model.frame_sizes=[3,16]", "model: frame_sizes must not be smaller than the hops"),
        ("model.frame_sizes=[16,15]", "frame_sizes must not be smaller than the hops"),
        ("model.frame_sizes=[16]", "model: frame_sizes must have a size for each of the 2 hops"),
        ("model.frame_sizes=[4,16,64]", "a size for each of the 2 hops"),
        ("model.frame_sizes=[4,65537]", "model.frame_sizes.1: Input should be less than or equal to 65536"),
        ("model.frame_sizes=[4,nan]", "model.frame_sizes.1: Input should be a"),
        ("model.history=-1", "model.history: Input should be greater than or equal to 0"),
        ("model.history=65537", "model.history: Input should be less than or equal to 65536"),
        ("model.history=nan", "model.history: Input should be a"),
        ("model.history=[4]", "model.history: Input should be a valid integer"),
        ("training.learning_rate=nan", "finite"),
        ("audio.codec.kind=a-law", "'mu-law' or 'linear'"),
        ("audio.codec.levels=1", "greater than or equal to 2"),
        ("training.batch_size=" + "9" * 5000, "5,000 characters, and 100 are the most"),
        ("training.batch_size=" + "9" * 99, "training.batch_size"),
        ("training.batch_size=" + "[" * 5000, "5,000 characters"),
        ("training.batch_size=" + "[" * 99, "training.batch_size"),
        ("training.batch_size=" + "{a=" * 33, "training.batch_size"),
        ("training.batch_size=8\ntraining.seed=3", "takes one value, in one line"),
        ("training.batch_size=8\rseed=3", "takes one value, in one line"),
        ("training.batch_size=8\x00", "takes one value, in one line"),
        ("training.batch_size=8 # lanes", "without a comment"),
        ("training.batch_size=", "valid integer"),
        ("training.seed=" + "9" * 20, "training.seed"),
        ("training.learning_rate=1e400", "finite"),
        ("training.steps=1e30", "training.steps"),
        ("a" * 5000 + "=1", "no such key"),
        ("a" * 5000, "write it as key=value"),
    ],
)
def test_bad_overrides(override: str, says: str) -> None:
    with pytest.raises(UserError) as fault:
        load_preset("tiny", [override])
    assert says in str(fault.value)
    assert len(str(fault.value)) < 1000 and len(str(fault.value).splitlines()) == 1


def test_a_history_without_a_sample_tier_is_refused() -> None:
    with pytest.raises(UserError) as fault:
        load_preset("tiny", ["model.mlp_layers=0", "model.history=4"])
    assert "model: history is what the sample tier sees, and mlp_layers = 0 omits it" in str(fault.value)
    assert load_preset("tiny", ["model.mlp_layers=0"]).model.history == 0


@pytest.mark.parametrize(
    ("overrides", "context"),
    [
        ([], 16),
        (["model.history=1"], 16),
        (["model.history=17"], 17),
        (["model.frame_sizes=[20,16]"], 20),
        (["model.frame_sizes=[4,48]", "model.history=32"], 48),
        (["model.hops=[1]", "model.mlp_layers=0"], 1),
    ],
)
def test_the_context_is_the_most_that_any_tier_sees(overrides: list[str], context: int) -> None:
    assert load_preset("tiny", overrides).model.context == context


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'live'"):
        load_preset("life")
    with pytest.raises(UserError, match="choose from"):
        load_preset("../../etc/passwd")


def test_unknown_key_in_a_file_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"model\.widht: no such key; did you mean 'model\.width'"):
        parse_preset({"model": {"widht": 3}}, source="x.toml")


def test_muon_and_weight_norm_exclude_each_other() -> None:
    with pytest.raises(UserError, match=r"training.optimiser must be adam with model.weight_norm"):
        load_preset("live", ["model.weight_norm=true"])
    assert load_preset("live", ["model.weight_norm=true", "training.optimiser=adam"]).model.weight_norm
