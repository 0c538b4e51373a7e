"""Checks exported graphs against the PyTorch model they came from, by running both on the same states and uniforms.

The bundle generates, and the model, in float64, computes every step again from the state that the graphs were in.
Each step must lead it to the same state, conditioning and logits up to rounding, and to the same code. It is never
run on from its own states: however closely two computations agree, those of a barely trained LSTM soon part.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_export.errors import ParityError
from slash_export.reference import Reference, Steps
from slash_export.teacher_forcing import Float32, Int32, TeacherForced, distance_outside
from slash_export.tolerances import TIE, logit_tolerance, step_tolerance
from slash_export.trajectory import Stretches, generate_stretches
from slash_infer.bundle import Bundle, Parity
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.model import SampleRNN

SAMPLES = 16_000  # compared of each clip, at least
CLIPS = (0, 1)
SEEDS = 5  # tried until one has no ties
MOST_TIES = 1e-3  # as a fraction of the samples

_Step = tuple[Float32, Float32, Float32]  # the state before a step, the state after it, and the conditioning


def check_parity(bundle: Bundle, model: SampleRNN, samples: int = SAMPLES) -> Parity:
    """Compare a bundle's fp32 graphs with its model, step by step: states, conditioning, logits, then the codes.

    Args:
        bundle: the exported graphs.
        model: the trained model, on the CPU; it is not changed.
        samples: how many samples to compare of each of two clips, at least.

    Returns:
        the comparison, for the manifest.

    Raises:
        ParityError: a graph differs by more than rounding explains.
    """
    graphs, reference = _Graphs(bundle), Reference(model)
    fewest = None
    for seed in range(SEEDS):
        compared, parity = _compare(graphs, reference, seed, samples)
        if parity.samples == compared:
            return parity
        if fewest is None or parity.samples > fewest.samples:
            fewest = parity
    if fewest is None or fewest.samples < (1 - MOST_TIES) * compared:
        raise ParityError(graphs.drawing, "draws other codes than the model at more ties than rounding explains")
    return fewest


class _Graphs(TeacherForced):
    """The fp32 graphs of a bundle on the CPU, by the names of their files, which keep what every step computed."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, Engine(bundle, OnnxCpu()))
        variant = bundle.variant("fp32")
        self.frame_tiers = [entry.file for entry in variant.frame_tiers]
        self.drawing = variant.sample_tier.file
        self.initial_states = [tier.initial_state.file for tier in bundle.manifest.frame_tiers]
        self._steps: list[list[_Step]] = []  # of every tier

    @override
    def step(self, k: int, frame: Int32, conditioning: Float32 | None) -> Float32:
        before = _stacked(self.rnn_states[k - 1])
        outputs = super().step(k, frame, conditioning)
        self._steps[k - 1].append((before, _stacked(self.rnn_states[k - 1]), outputs))
        return outputs

    def compute(self, stretches: Stretches) -> tuple[Float32, list[Float32], list[Steps]]:
        """Return the logits, the states before every step of the frame tiers, and what the frame tiers computed."""
        self._steps = [[] for _ in self.frame_tiers]
        self.resume(stretches.before)
        logits, states, computed = self.logits(stretches.codes), [], []
        for tier in self._steps:
            before, after, conditioning = zip(*tier, strict=True)
            states.append(np.concatenate(before, axis=2))
            computed.append(Steps(np.concatenate(after, axis=2), np.concatenate(conditioning, axis=1)))
        return logits, states, computed


def _compare(graphs: _Graphs, reference: Reference, seed: int, samples: int) -> tuple[int, Parity]:
    """Compare under one seed; return the number of samples, and the comparison, which does not count ties."""
    largest, compared, ties = 0.0, 0, 0
    for stretches in generate_stretches(graphs.engine, CLIPS, seed=seed, samples=samples, steps=1):
        if not compared:
            begun = [state[:, :, : len(CLIPS)] for state in _states(stretches.before.rnn_states)]
            initial = reference.initial_state(len(CLIPS))
            _check_states(graphs.initial_states, begun, initial, "is another initial state than the model's")
        logits, before, actual = graphs.compute(stretches)
        expected_logits, expected = reference(stretches.codes, before)
        _check_frame_tiers(graphs, actual, expected)
        after, computed = _states(stretches.after.rnn_states), _states(graphs.rnn_states)
        _check_states(graphs.frame_tiers, after, computed, "generates from other states than it computes by itself")
        difference = _largest_difference(logits, expected_logits)
        largest = max(largest, difference)
        if not difference <= logit_tolerance(expected_logits):
            raise ParityError(graphs.drawing, f"computes other logits than the model, by up to {difference:.2g}")
        off = distance_outside(expected_logits, stretches.drawn, stretches.uniform)
        if off.max() > max(TIE, difference):
            row, t = np.unravel_index(np.argmax(off), off.shape)
            stretch, i = divmod(int(row), len(CLIPS))
            at = compared // len(CLIPS) + stretch * off.shape[1] + t
            raise ParityError(graphs.drawing, f"draws another code than the model at sample {at} of clip {CLIPS[i]}")
        ties += int((off > 0).sum())
        compared += off.size
    return compared, Parity(samples=compared - ties, max_logit_difference=largest)


def _check_frame_tiers(graphs: _Graphs, actual: list[Steps], expected: list[Steps]) -> None:
    """Compare what the frame tiers computed: the top tier first, since its conditioning is read by those below."""
    for name, ours, theirs in reversed(list(zip(graphs.frame_tiers, actual, expected, strict=True))):
        _check_state(name, ours.states, theirs.states, "computes other states than the model")
        difference = _largest_difference(ours.conditioning, theirs.conditioning)
        if not difference <= step_tolerance(theirs.conditioning):
            raise ParityError(name, f"computes other conditioning than the model, by up to {difference:.2g}")


def _check_states(names: list[str], actual: list[Float32], expected: Sequence[npt.NDArray[Any]], fault: str) -> None:
    """Compare the states of every frame tier."""
    for name, ours, theirs in zip(names, actual, expected, strict=True):
        _check_state(name, ours, theirs, fault)


def _check_state(name: str, actual: npt.NDArray[Any], expected: npt.NDArray[Any], fault: str) -> None:
    """Compare states [S, L, N, D], h and c by themselves: h is never over 1, c often is."""
    for ours, theirs in zip(actual, expected, strict=True):
        difference = _largest_difference(ours, theirs)
        if not difference <= step_tolerance(theirs):
            raise ParityError(name, f"{fault}, by up to {difference:.2g}")


def _largest_difference(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Return the largest absolute difference; NaN if there is one."""
    return float(np.abs(actual - expected).max())


def _states(rnn_states: list[dict[str, Float32]]) -> list[Float32]:
    """Return the states of every frame tier, [S, L, B, D]."""
    return [_stacked(state) for state in rnn_states]


def _stacked(state: dict[str, Float32]) -> Float32:
    return np.stack(list(state.values()))
