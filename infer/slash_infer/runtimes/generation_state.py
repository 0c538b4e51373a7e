"""The state of a batch of clips between two steps: with the uniforms still to come, it determines what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Rows = Sequence[int] | npt.NDArray[np.intp] | slice

HISTORY = "history"


@dataclass(frozen=True)
class GenerationState:
    """The last codes and the RNN state of every clip."""

    history: Int32
    """The last codes, as many as the manifest's context, oldest first, [B, C]."""
    rnn_states: list[dict[str, Float32]]
    """Of each frame tier, the lowest first, by the names of the graph's inputs, [L, B, D]."""

    def select(self, clips: Rows) -> Self:
        """Return the state of some of the clips, by index."""
        rnn_states = [{name: state[:, clips] for name, state in tier.items()} for tier in self.rnn_states]
        return type(self)(self.history[clips], rnn_states)

    def reset(self, clips: npt.NDArray[np.bool_], initial: "GenerationState") -> None:
        """Put the clips where the mask `clips`, [B], is true back to `initial`, in place."""
        self.history[clips] = initial.history[clips]
        for states, initial_states in zip(self.rnn_states, initial.rnn_states, strict=True):
            for name, state in states.items():
                state[:, clips] = initial_states[name][:, clips]

    @classmethod
    def concatenate(cls, states: Sequence["GenerationState"]) -> Self:
        """Return the state of the clips of several batches, one batch after another."""
        tiers = zip(*(state.rnn_states for state in states), strict=True)
        rnn_states = [
            {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]} for parts in tiers
        ]
        return cls(np.concatenate([state.history for state in states]), rnn_states)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays under names that `from_arrays` reads: `history`, and `tier_1.h` for example."""
        named = {
            f"tier_{k}.{name}": state for k, tier in enumerate(self.rnn_states, 1) for name, state in tier.items()
        }
        return {HISTORY: self.history, **named}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], state_names: Sequence[Sequence[str]]) -> Self:
        """Return the state held in arrays that `arrays()` named; `state_names` are those of each tier."""
        rnn_states = [{name: arrays[f"tier_{k}.{name}"] for name in names} for k, names in enumerate(state_names, 1)]
        return cls(arrays[HISTORY], rnn_states)
