"""`--engine` and `--precision`, as the commands that run a bundle take them."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import stderr

if TYPE_CHECKING:
    from slash_infer.bundle import Bundle
    from slash_infer.sampling.choice import Chosen
    from slash_infer.sampling.engine import Engine


class EngineName(StrEnum):
    """What runs the graphs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"


class PrecisionName(StrEnum):
    """What it computes in."""

    auto = "auto"
    fp32 = "fp32"
    int8 = "int8"
    fp16 = "fp16"


EngineOption = Annotated[EngineName, typer.Option(help="What runs the model.")]
PrecisionOption = Annotated[PrecisionName, typer.Option(help="What it computes in, of those in the bundle.")]


def choose_engine(
    bundle: "Bundle", engine: EngineName = EngineName.auto, precision: PrecisionName = PrecisionName.auto
) -> "Engine":
    """Open a bundle on the engine asked for, and say on stderr what `auto` chose and why."""
    from slash_infer.sampling.choice import open_engine

    chosen = open_engine(bundle, engine.value, precision.value)
    if "auto" in (engine.value, precision.value):
        say_choice(chosen)
    return chosen.engine


def say_choice(chosen: "Chosen") -> None:
    """Say on stderr what runs a bundle, and why."""
    stderr().print(f"{chosen.engine.description}: {chosen.why}")
