"""Generated clips with the state that each stretch of them began in, so that a stretch can be computed by itself.

Two computations that round differently drift apart, and those of a barely trained LSTM do so exponentially: what one
differs from the other by after a second says nothing about either. So they are compared over stretches too short to
drift, each begun from the same state.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_export.tolerances import stretches_at_once
from slash_infer.errors import UserError
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms


@dataclass(frozen=True)
class Stretches:
    """Consecutive stretches of some clips, side by side: the first stretch of every clip, then the second, and so on.

    R is the number of stretches times that of clips.
    """

    codes: npt.NDArray[np.int32]
    """The context, then the T codes drawn, [R, C + T]."""
    uniform: npt.NDArray[np.float32]
    """What they were drawn with, [R, T]."""
    before: GenerationState
    """The state that each stretch began in."""
    after: GenerationState
    """The state that it ended in."""

    @property
    def drawn(self) -> npt.NDArray[np.int32]:
        """The codes drawn, [R, T]."""
        return self.codes[:, -self.uniform.shape[1] :]


def generate_stretches(
    engine: Engine, clips: Sequence[int], *, seed: int, samples: int, steps: int
) -> Iterator[Stretches]:
    """Generate clips at temperature 1 without a floor, as many stretches at a time as fit a bounded amount of memory.

    Args:
        engine: what generates.
        clips: the numbers of the clips.
        seed: of the random draws.
        samples: how many of each clip, at least.
        steps: length of a stretch, in steps of the top tier.

    Raises:
        UserError: the graphs draw a code that the codec does not have.
    """
    manifest = engine.manifest
    length = steps * manifest.top_hop
    left, at_once = -(-samples // length), stretches_at_once(manifest, len(clips), length)
    uniforms, temperature = Uniforms(seed, clips), np.ones((len(clips), steps), np.float32)
    with closing(Batch(engine, len(clips))) as batch:
        states = [batch.state()]
        while left:
            count = min(at_once, left)
            uniform, codes = [], []
            for _ in range(count):
                uniform.append(uniforms.next(length))
                drawn = batch.generate(uniform[-1], temperature, 0.0).codes
                codes.append(np.concatenate([states[-1].history, drawn], axis=1))
                states.append(batch.state())
            stretches = Stretches(
                np.concatenate(codes),
                np.concatenate(uniform),
                GenerationState.concatenate(states[:-1]),
                GenerationState.concatenate(states[1:]),
            )
            if stretches.codes.min() < 0 or stretches.codes.max() >= manifest.codec.levels:
                raise UserError(
                    engine.description, "draws codes that the codec does not have", "export the bundle again"
                )
            yield stretches
            states, left = states[-1:], left - count
