"""Presets are strict, and the message about a misspelt name suggests the nearest existing one."""

import pytest

from slash_infer.errors import UserError
from slash_train.config import load_preset, parse_preset, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_survives_json(name: str) -> None:
    preset = load_preset(name)
    assert parse_preset(preset.model_dump(mode="json"), source="json") == preset


def test_overrides() -> None:
    preset = load_preset("tiny", ["training.batch_size=3", "model.frame_sizes=[8]", "audio.codec.kind=linear"])
    assert preset.training.batch_size == 3
    assert preset.model.frame_sizes == (8,)
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
        ("training.window=1000", "multiple of the top frame size"),
        ("model.frame_sizes=[3,16]", "each dividing the next"),
        ("model.frame_sizes=[]", "at least 1 item"),
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


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'live'"):
        load_preset("life")
    with pytest.raises(UserError, match="choose from"):
        load_preset("../../etc/passwd")


def test_unknown_key_in_a_file_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"model\.widht: no such key; did you mean 'model\.width'"):
        parse_preset({"model": {"widht": 3}}, source="x.toml")
