"""Where a batch of clips stands between two steps: all that its future depends on, besides the draws to come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

HISTORY = "history"


@dataclass(frozen=True)
class GenerationState:
    """The last codes and the RNN state of every clip."""

    history: Int32
    """The last codes, [B, FS(K)]."""
    states: list[dict[str, Float32]]
    """Each frame tier's, the lowest first, by the graph's names, [L, B, D]."""

    def of(self, clips: Sequence[int] | slice) -> Self:
        """Return the moment of some of its clips, by their rows."""
        states = [{name: state[:, clips] for name, state in tier.items()} for tier in self.states]
        return type(self)(self.history[clips], states)

    def put_back(self, clips: npt.NDArray[np.bool_], beginning: "GenerationState") -> None:
        """Put some of the clips, [B], to where `beginning` has them."""
        self.history[clips] = beginning.history[clips]
        for states, initial in zip(self.states, beginning.states, strict=True):
            for name, state in states.items():
                state[:, clips] = initial[name][:, clips]

    @classmethod
    def joined(cls, moments: Sequence["GenerationState"]) -> Self:
        """Return the moment of all the clips of several."""
        history = np.concatenate([one.history for one in moments])
        tiers = zip(*(one.states for one in moments), strict=True)
        states = [
            {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]} for parts in tiers
        ]
        return cls(history, states)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return its arrays by names that `from_arrays` knows: `history`, and `tier_1.h` for example."""
        named = {f"tier_{k}.{name}": state for k, tier in enumerate(self.states, 1) for name, state in tier.items()}
        return {HISTORY: self.history, **named}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], state_names: Sequence[Sequence[str]]) -> Self:
        """Return the moment with the arrays that `arrays()` named; `state_names` are those of each tier."""
        states = [{name: arrays[f"tier_{k}.{name}"] for name in names} for k, names in enumerate(state_names, 1)]
        return cls(arrays[HISTORY], states)


@dataclass(frozen=True)
class Generated:
    """What was made of some uniforms."""

    codes: Int32
    """[B, T]."""
    nll: Float32
    """Negative log-likelihood of each code in nats at its temperature, [B, T]."""

    @classmethod
    def joined(cls, parts: Sequence["Generated"], axis: int) -> Self:
        """Return several as one: further clips along axis 0, or what was played next along axis 1."""
        codes = np.concatenate([part.codes for part in parts], axis=axis)
        return cls(codes, np.concatenate([part.nll for part in parts], axis=axis))

    def part(self, rows: Sequence[int] | slice = slice(None), times: slice = slice(None)) -> Self:
        """Return some clips, or some time, of it."""
        return type(self)(self.codes[rows][:, times], self.nll[rows][:, times])
