"""Generates audio from an exported SampleRNN bundle. Needs no PyTorch.

Example:
    with Sampler(Bundle("bundle"), clips=8, seed=0) as sampler:
        for block in sampler.stream(10.0):  # float32 [8, samples]
            ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slash_infer.bundle import Bundle as Bundle
    from slash_infer.errors import UserError as UserError
    from slash_infer.sampler import Sampler as Sampler
    from slash_infer.temperature import Schedule as Schedule

__version__ = "0.1.0"
__all__ = ["Bundle", "Sampler", "Schedule", "UserError", "__version__"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line shows its help without numpy."""
    from importlib import import_module

    homes = {"Bundle": "bundle", "Sampler": "sampler", "Schedule": "temperature", "UserError": "errors"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
