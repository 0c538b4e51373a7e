"""Settings and options that nobody means: taken, or refused in one line."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_samples import Samples
from fault_tally import Tally
from hostile import STRANGE_VALUES, VALUES, receive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.exceptions import TyperException

from slash_cli.app import app
from slash_infer.errors import UserError
from slash_train.config import Preset, change_preset, load_preset, parse_preset

KEYS = [
    *(
        "model.width",
        "model.hops",
        "model.frame_sizes",
        "model.history",
        "model.cell",
        "model.mlp_layers",
        "audio.codec",
    ),
    *("audio.sample_rate", "training.window", "training.learning_rate", "training.steps", "training.seed"),
    *("model", "training.", "", "audio.codec.levels", "model.frame_sizes.0", "\x1b[31m", "__class__", "a" * 5000),
]
WORDS = [
    *("", "0", "-1", "1", "3", "1.5", "nan", "inf", "-inf", "1e999", "1e-999", "0x10", "1_000", "9" * 30, "9" * 5000),
    *(str(2**31), str(2**62), str(2**64), "\u0663", "\u00bd", "true", "None", "x", "x" * 5000, "[" * 5000, "[1, 2"),
    *(
        "\x1b[31m\a",
        "a\nb = 3",
        "\u202e",
        "\udce9",
        "'''",
        '"',
        "{}",
        "{ a = 1 }",
        "1 # 2",
        "2026-01-01",
        "1/0",
        "2/1",
    ),
    *(
        "0:1,0:2",
        "5:1,1:2",
        "1:",
        ":",
        ",",
        "0.9,,1",
        "../..",
        "/dev/zero",
        "fp32,fp32",
        "fp64",
        "best",
        "mix",
        "1 2",
    ),
]
NOWHERE = "nowhere"
OPTIONS = {
    "generate bundle --out out.wav --seconds 0.01 --engine cpu": (
        *(
            "--seed",
            "--clip",
            "--temperature",
            "--floor",
            "--bits",
            "--normalise",
            "--format",
            "--precision",
            "--latency",
            "--candidates",
        ),
        *("--shard", "--prime", "--prime-start", "--prime-seconds"),
    ),
    "generate bundle --out out.wav --seconds 0.01 --engine cpu --prime takes/0.wav": (
        "--prime-start",
        "--prime-seconds",
    ),
    f"generate {NOWHERE} --out out": ("-n", "--best-of", "--seconds", "--shard", "--clip", "--engine"),
    "prepare takes --out out": (
        "--sample-rate",
        "--channel",
        "--valid",
        "--test",
        "--scale",
        "--valid-list",
        "--test-list",
    ),
    "evaluate bundle corpus": ("--split", "--precision", "--checkpoint", "--device"),
    "export run --out out --precision fp32": ("--precision", "--checkpoint"),
    f"train {NOWHERE} --out out": ("--steps", "--minutes", "--keep", "--precision", "--device", "--preset", "--set"),
    f"audition {NOWHERE} --out out": ("-n", "--seconds", "--seed", "--temperature", "--floor", "--checkpoint"),
    f"bench {NOWHERE}": ("-n", "--seconds", "--engine", "--precision"),
    f"build {NOWHERE}": ("--target",),
    f"verify {NOWHERE}": ("--engine",),
    "gallery clips --out out": ("--title", "--url"),
    "compare clips": ("--to",),
}
PAIRS = [(command, option) for command, options in OPTIONS.items() for option in options]
FEW = 40  # examples in the quick half
few_and_many = pytest.mark.parametrize(
    "many",
    [
        pytest.param(False, id="few"),
        pytest.param(True, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)


def _each(many: bool, most: int) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Return how often something is tried: the same in the quick half every time."""
    how = settings(
        max_examples=most if many else FEW,
        deadline=None,
        database=None,
        derandomize=not many,
        suppress_health_check=list(HealthCheck),
    )
    return lambda check: how(given(st.data())(check))


@few_and_many
def test_any_setting_is_taken_or_refused(many: bool, tally: Tally, tmp_path: Path) -> None:
    begun = load_preset("tiny")

    @_each(many, 2000)
    def check(data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(WORDS) | st.text(max_size=20) | st.sampled_from(STRANGE_VALUES).map(str))
        override = data.draw(st.sampled_from(KEYS)) + data.draw(st.sampled_from(["=", "==", " = ", ""])) + word

        def change() -> None:
            for changed in (load_preset("tiny", [override]), change_preset(begun, [override])):
                assert Preset.model_validate_json(changed.model_dump_json()) == changed

        receive(change, tmp_path, ["overrides", "tiny", "configuration"], within=False)
        tally.count("hostile words: settings")

    check()


@few_and_many
def test_any_configuration_is_taken_or_refused(many: bool, tally: Tally, tmp_path: Path) -> None:
    healthy = load_preset("slash")

    @_each(many, 1500)
    def check(data: st.DataObject) -> None:
        tables = healthy.model_dump(mode="json")
        for damage in data.draw(VALUES):
            damage.apply(tables)

        def parse() -> None:
            preset = parse_preset(tables, "preset 'mine'")
            assert Preset.model_validate_json(preset.model_dump_json()) == preset

        receive(parse, tmp_path, ["preset 'mine'"], within=False)
        tally.count("hostile words: configurations")

    check()


@few_and_many
def test_any_option_is_taken_or_refused(
    many: bool, samples: Samples, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("takes", "corpus", "run", "bundle"):
        (tmp_path / name).symlink_to(getattr(samples, name))
    monkeypatch.chdir(tmp_path)

    @_each(many, 1500)
    def check(data: st.DataObject) -> None:
        command, option = data.draw(st.sampled_from(PAIRS))
        word = data.draw(st.sampled_from(WORDS))

        def call() -> None:
            try:
                app([*shlex.split(command), option, word], standalone_mode=False)
            except TyperException as error:
                raise UserError(None, error.format_message()) from None
            finally:
                for path in tmp_path.glob("out*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

        receive(call, tmp_path, [""], within=False)
        tally.count("hostile words: options")

    check()
