"""Errors: one line of subject, fault and remedy, in which a front end may rename the arguments."""

import ast
import re
from pathlib import Path

import pytest

from slash_cli.lazy import COMMANDS, load_command, option_of
from slash_infer.errors import Argument, UserError, first_line, printable
from slash_infer.runtimes import compiled_library

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = sorted(
    path
    for package in ("infer/slash_infer", "train/slash_train", "export/slash_export")
    for path in (ROOT / package).rglob("*.py")
)
FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*\b")


def test_an_error_is_one_line_of_what_it_has() -> None:
    assert str(UserError(Path("a.wav"), "is empty", "remove it")) == "a.wav: is empty; remove it"
    assert str(UserError(Argument("clips", 0), "must be 1 or more")) == "`clips` 0: must be 1 or more"
    assert str(UserError(None, "no engine works", "install one")) == "no engine works; install one"


def test_an_error_is_printable_whatever_it_names() -> None:
    error = UserError(Path("a\x1b[31m\nb\u202e.wav"), "holds \x9b2J\x00\x7f\u2028", "remove \udcff\ud800")
    assert str(error) == r"a\x1b[31m\nb\u202e.wav: holds \x9b2J\x00\x7f\u2028; remove \xff\ud800"
    assert str(error) == printable(str(error))  # once is enough
    assert printable("naïve 木 \N{BOMB} \\ 'quoted'") == "naïve 木 \N{BOMB} \\ 'quoted'"
    steering = [
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        0x61C,
        0x200E,
        0x200F,
    ]
    assert printable("".join(map(chr, steering))).isprintable()


def test_what_others_say_is_shortened() -> None:
    assert first_line(ValueError("\n\nbroken\nfurther")) == "broken"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 10**6))) < 400


def test_arguments_are_renamed_in_every_part_but_values() -> None:
    error = UserError(Argument("seconds", 0), "is less than `step`", "raise `seconds`")
    assert str(error) == "`seconds` 0: is less than `step`; raise `seconds`"
    assert str(error.renamed(lambda name: f"--{name}")) == "--seconds 0: is less than --step; raise --seconds"
    odd = UserError(Argument("prime", Path("`out`.wav")), "is not readable").renamed(lambda name: f"--{name}")
    assert str(odd) == "--prime `out`.wav: is not readable"
    path = UserError(Path("`out`.wav"), "already exists", "pass `force`").renamed(lambda name: f"--{name}")
    assert str(path) == "`out`.wav: already exists; pass --force"


@pytest.mark.parametrize(
    ("command", "argument", "option"),
    [
        ("generate", "clips", "-n"),
        ("generate", "audio_format", "--format"),
        ("train", "overrides", "--set"),
        ("train", "compile_model", "--compile"),
        ("prepare", "sample_rate", "--sample-rate"),
        ("bench", "json_file", "--json"),
        ("info", "sample_rate", "--sample-rate"),  # it has none, but another command does
        ("demo", "overrides", "--set"),
        ("export", "target", "--target"),
        ("generate", "flavour", "flavour"),
    ],
)
def test_an_argument_stands_for_the_option_of_its_name(command: str, argument: str, option: str) -> None:
    assert option_of(load_command(command), argument) == option


def test_every_command_is_found_in_its_module() -> None:
    for name in COMMANDS:
        assert load_command(name).name == name


OF_A_COMPILER = {*compiled_library.FLAGS, *compiled_library.THIS_PROCESSOR, "-o", "-lm", "--version"}


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.stem)
def test_libraries_name_no_option_of_the_command_line(path: Path) -> None:
    """Neither in messages nor elsewhere: what a string or a docstring says is for callers from Python, too."""
    strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [found for text in strings if text not in OF_A_COMPILER for found in FLAG.findall(text)] == []
