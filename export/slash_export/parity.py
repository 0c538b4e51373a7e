"""Checks exported graphs against the PyTorch model they came from, by running both on the same uniforms.

The bundle generates, and the model, in float64, scores the result. If at every sample the model would have drawn the
same code as the bundle from the same history and uniform, then by induction the two generate identical audio.
"""

import copy

import numpy as np
import torch

from slash_export.errors import ParityError
from slash_export.teacher_forcing import TeacherForced, distance_outside
from slash_export.tolerances import TIE, compared_at_once, logit_tolerance
from slash_infer.bundle import Bundle, Parity
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler
from slash_train.model import SampleRNN

SAMPLES = 16_000  # compared of each clip, at least
CLIPS = (0, 1)
SEEDS = 5  # tried until one has no ties
MOST_TIES = 1e-3  # as a fraction of the samples


def check_parity(bundle: Bundle, model: SampleRNN, samples: int = SAMPLES) -> Parity:
    """Compare a bundle's fp32 graphs with its model: logits within tolerance, then identical codes.

    Args:
        bundle: the exported graphs.
        model: the trained model, on the CPU; it is not changed.
        samples: how many samples to compare of each of two clips, at least.

    Returns:
        the comparison, for the manifest.

    Raises:
        ParityError: a logit or a code differs by more than rounding explains.
    """
    reference = copy.deepcopy(model).double()
    forced = TeacherForced(bundle, Engine(bundle, OnnxCpu()))
    fewest = None
    for seed in range(SEEDS):
        compared, parity = _compare(bundle, forced, reference, seed, samples)
        if parity.samples == compared:
            return parity
        if fewest is None or parity.samples > fewest.samples:
            fewest = parity
    if fewest is None or fewest.samples < (1 - MOST_TIES) * compared:
        raise ParityError("the graphs drew other codes than the model at more ties than rounding explains")
    return fewest


def _compare(
    bundle: Bundle, forced: TeacherForced, reference: SampleRNN, seed: int, samples: int
) -> tuple[int, Parity]:
    """Compare under one seed; return the number of samples, and the comparison, which does not count ties."""
    manifest = bundle.manifest
    hop = manifest.top_hop
    window = compared_at_once(manifest, len(CLIPS))
    sampler = Sampler(bundle, CLIPS, seed=seed, engine=forced.engine)
    uniforms = Uniforms(seed, CLIPS)
    state = reference.initial_state(len(CLIPS))
    forced.start(len(CLIPS))
    history = manifest.silence(len(CLIPS))
    largest, compared, ties = 0.0, 0, 0
    while compared < samples:
        length = min(window, -(-(samples - compared) // hop) * hop)
        drawn = sampler.codes(length)
        codes = np.concatenate([history, drawn], axis=1)
        with torch.inference_mode():
            logits, state = reference(torch.from_numpy(codes.astype(np.int64)), state)
        difference = float(np.abs(forced.logits(codes) - logits.numpy()).max())
        largest = max(largest, difference)
        if not difference <= logit_tolerance(logits.numpy()):
            raise ParityError(f"the graphs' logits differ from the model's by up to {difference:.2g}")
        off = distance_outside(logits.numpy(), drawn, uniforms.next(length))
        if off.max() > max(TIE, difference):
            clip, t = np.unravel_index(np.argmax(off), off.shape)
            raise ParityError(f"the graphs drew another code than the model at sample {compared + t} of clip {clip}")
        ties += int((off > 0).sum())
        history = codes[:, -manifest.top_frame :]
        compared += length
    total = compared * len(CLIPS)
    return total, Parity(samples=total - ties, max_logit_difference=largest)
