"""Generates audio from an exported SampleRNN bundle. Needs no PyTorch.

Example:
    with Sampler(Bundle("bundle"), clips=8, seed=0) as sampler:
        for block in sampler.stream(10.0):  # float32 [8, samples]
            ...
"""

from typing import TYPE_CHECKING

from slash_infer._version import __version__

if TYPE_CHECKING:
    from slash_infer.bundle import Bundle as Bundle
    from slash_infer.errors import UserError as UserError
    from slash_infer.sampling.choice import open_engine as open_engine
    from slash_infer.sampling.engine import Engine as Engine
    from slash_infer.sampling.sampler import Sampler as Sampler
    from slash_infer.sampling.temperature import TemperatureSchedule as TemperatureSchedule

__all__ = ["Bundle", "Engine", "Sampler", "TemperatureSchedule", "UserError", "__version__", "open_engine"]

_HOMES = {
    "Bundle": "bundle",
    "Engine": "sampling.engine",
    "Sampler": "sampling.sampler",
    "TemperatureSchedule": "sampling.temperature",
    "UserError": "errors",
    "open_engine": "sampling.choice",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line shows its help without numpy."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
