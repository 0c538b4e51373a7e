"""Compares an engine that runs a model as a whole, and shows nothing of its inside, with fp32 on the CPU.

The engine generates in short stretches. fp32 follows each from the engine's own state, over the codes that the engine
drew: so rounding cannot grow, and every code, likelihood and state has a counterpart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_export.teacher_forcing import TeacherForced, distance_outside, log_softmax
from slash_export.tolerances import ROUGH_TIE
from slash_infer.bundle import Precision
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.sampling.batch import Batch
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms

STEPS = 8  # of the top tier in a stretch
# After a stretch; of numbers over 1, relative to them. In int8, weights are rounded, and steps add that up: a single
# number of a model that was trained for hours was 0.45 away, so their root mean square is judged.
MOST_STATE_DIFFERENCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.1}
# Share of the codes that may be further than ROUGH_TIE from what fp32 draws; 0.0014 were in that model.
MOST_STRAY: dict[Precision, float] = {"fp32": 0.0, "fp16": 0.0, "int8": 0.01}

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """What was drawn, and how it compares."""

    codes: npt.NDArray[np.int32]
    """[B, T]."""
    max_state_difference: float
    """Largest difference in any layer's state at the end of a stretch; of numbers over 1, relative to them."""
    mean_kl: float
    """Mean KL divergence to fp32's distribution, estimated at the codes drawn, nats per sample."""
    fault: str | None
    """What is wrong; None if nothing is. The divergence is not judged."""


def compare_whole_model(
    engine: Engine, forced: TeacherForced, clips: Sequence[int], *, seed: int, samples: int
) -> Comparison:
    """Generate `samples` of each clip, a multiple of the top tier's hop, and compare.

    Args:
        engine: the engine.
        forced: fp32 on the CPU.
        clips: numbers of the clips.
        seed: of the uniforms.
        samples: of each clip.
    """
    batch, uniforms, hop = Batch(engine, len(clips)), Uniforms(seed, clips), engine.manifest.top_hop
    codes, divergences, outside, largest, root_mean_square, prefilled = [], [], [], 0.0, 0.0, 0.0
    for first in range(0, samples, STEPS * hop):
        count = min(STEPS * hop, samples - first)
        before, uniform = batch.state(), uniforms.next(count)
        drawn = batch.generate(uniform, np.ones((len(clips), count // hop), np.float32), 0.0)
        after = batch.state()
        forced.resume(before)
        logits = forced.logits(np.concatenate([before.history, drawn.codes], axis=1))
        codes.append(drawn.codes)
        divergences.append(_divergences(logits, drawn.codes, drawn.nll))
        outside.append(distance_outside(logits, drawn.codes, np.asarray(uniform)))
        differences = list(_differences(after, GenerationState(after.history, forced.rnn_states)))
        largest = float(np.max([largest, *(part.max() for part in differences)]))
        root_mean_square = float(np.max([root_mean_square, *(np.sqrt(np.mean(part**2)) for part in differences)]))
        if first == 0:
            batch.set_state(before)
            batch.prefill([*drawn.codes])
            prefilled = float(np.max([part.max() for part in _differences(batch.state(), after)]))
            batch.set_state(after)
    batch.close()
    return Comparison(
        np.concatenate(codes, axis=1),
        largest,
        float(np.concatenate(divergences, axis=1).mean()),
        _fault(
            engine.precision,
            np.concatenate(outside, axis=1),
            root_mean_square if engine.precision == "int8" else largest,
            prefilled,
        ),
    )


def _fault(precision: Precision, outside: npt.NDArray[np.floating], states: float, prefilled: float) -> str | None:
    if not np.mean(~(outside <= ROUGH_TIE)) <= MOST_STRAY[precision]:
        return "draws codes that the logits of fp32 do not give"
    if not states <= MOST_STATE_DIFFERENCE[precision]:
        return f"states differ by {states:.1e}, more than {MOST_STATE_DIFFERENCE[precision]}"
    if not prefilled <= MOST_STATE_DIFFERENCE["fp16" if precision == "fp16" else "fp32"]:
        return f"codes that are given lead to a state that differs by {prefilled:.1e} from that of codes drawn"
    return None


def _divergences(
    logits: npt.NDArray[np.float32], codes: npt.NDArray[np.int32], nll: npt.NDArray[np.float32]
) -> Float64:
    """Return an estimate of the divergence at each code drawn: r - 1 - log r, where r is the ratio of likelihoods.

    Its mean over draws is the KL divergence, and it is never negative (http://joschu.net/blog/kl-approx.html).
    """
    expected = np.take_along_axis(log_softmax(logits), codes[..., np.newaxis].astype(np.int64), axis=-1)[..., 0]
    log_ratio = expected + nll
    return np.asarray(np.expm1(log_ratio) - log_ratio)


def _differences(state: GenerationState, other: GenerationState) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the differences of each layer's states, [B, D]; of numbers over 1, relative to them."""
    if not np.array_equal(state.history, other.history):
        yield np.full((1, 1), np.inf)
    for mine, theirs in zip(state.rnn_states, other.rnn_states, strict=True):
        for name in theirs:
            yield from np.abs(mine[name] - theirs[name]) / np.maximum(1, np.abs(theirs[name]))
