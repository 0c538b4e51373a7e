"""Compares every engine and precision of a bundle with fp32 on the CPU: layers, logits, and the codes drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_export.teacher_forcing import TeacherForced, log_softmax
from slash_export.tolerances import LOGIT_TOLERANCE, MOST_BITS_LOST, TIE, compared_at_once
from slash_infer.bundle import Bundle, Precision
from slash_infer.engine import Engine
from slash_infer.onnx_cpu import OnnxCpu
from slash_infer.randomness import Uniforms
from slash_infer.runtime import Runtime
from slash_infer.sampler import Sampler

CLIPS = (0, 1)
SECONDS = 0.5
SEED = 0


@dataclass(frozen=True)
class Verdict:
    """How one engine and precision compared, over audio that fp32 generated on the CPU."""

    runtime: str
    precision: Precision
    max_layer_difference: float
    """Of any number that any frame tier hands down, both fed with the same."""
    max_logit_difference: float
    """Each with the RNN state of its own making."""
    mean_kl: float
    """From the reference's distribution, nats per sample."""
    identical: int
    """Codes of each clip alike until the first difference, added up."""
    codes: int
    """Compared."""
    fault: str | None
    """What is wrong; None when all is well."""


@dataclass(frozen=True)
class _Reference:
    """fp32 on the CPU: what it drew from which uniforms, and how it came to it."""

    codes: npt.NDArray[np.int32]  # [B, top + T], after silence
    uniforms: npt.NDArray[np.float32]  # [B, T]
    forced: TeacherForced


def verify(bundle: Bundle, runtimes: Sequence[Runtime[Any]]) -> list[Verdict]:
    """Compare each runtime in each precision it has graphs for.

    Args:
        bundle: what to run.
        runtimes: where.

    Returns:
        the verdicts; none for fp32 on the CPU, which all are compared with.

    Raises:
        UserError: a runtime rejects a graph.
    """
    wanted = [
        (runtime, variant.precision)
        for runtime in runtimes
        for variant in bundle.manifest.variants
        if variant.precision in runtime.precisions and (runtime.name, variant.precision) != ("cpu", "fp32")
    ]
    if not wanted:
        return []
    reference = _reference(bundle)
    return [_compare(bundle, runtime, precision, reference) for runtime, precision in wanted]


def _reference(bundle: Bundle) -> _Reference:
    manifest = bundle.manifest
    forced = TeacherForced(bundle, OnnxCpu())
    samples = -(-round(SECONDS * manifest.sample_rate) // manifest.top_hop) * manifest.top_hop
    drawn = Sampler(bundle, CLIPS, seed=SEED, engine=forced.engine).codes(samples)
    history = np.full((len(CLIPS), manifest.top_frame), manifest.codec.silence, np.int32)
    return _Reference(np.concatenate([history, drawn], axis=1), Uniforms(SEED, CLIPS).next(samples), forced)


def _compare(bundle: Bundle, runtime: Runtime[Any], precision: Precision, reference: _Reference) -> Verdict:
    other = TeacherForced(bundle, runtime, precision)
    logit_difference, mean_kl = _compare_logits(bundle, other, reference)
    identical, tied = _compare_codes(bundle, other.engine, reference)
    fault = None
    if precision == "fp32":
        if not logit_difference <= LOGIT_TOLERANCE:
            fault = f"logits differ by more than {LOGIT_TOLERANCE}"
        elif not tied:
            fault = "draws other codes from the same uniforms"
    else:
        fidelity = (found := bundle.manifest.variant(precision)) and found.fidelity
        allowed = max(MOST_BITS_LOST * log(2), 2 * fidelity.mean_kl if fidelity else 0.0)
        if not mean_kl <= allowed:
            fault = f"mean KL is over {allowed:.1e}"
    return Verdict(
        runtime=runtime.name,
        precision=precision,
        max_layer_difference=_compare_layers(bundle, other, reference),
        max_logit_difference=logit_difference,
        mean_kl=mean_kl,
        identical=identical,
        codes=reference.uniforms.size,
        fault=fault,
    )


def _compare_layers(bundle: Bundle, other: TeacherForced, reference: _Reference) -> float:
    """Run each frame tier of both on the same frames, conditioning and first states; return what differs most."""
    manifest, largest = bundle.manifest, 0.0
    conditioning = None
    for side in (reference.forced, other):
        side.start(len(CLIPS))
    for k in range(len(manifest.frame_tiers), 0, -1):
        frame = reference.codes[:, -manifest.frame_tiers[k - 1].frame_size :]
        expected, made = (side.step(k, frame, conditioning) for side in (reference.forced, other))
        largest = max(largest, float(np.abs(made - expected).max()))
        conditioning = np.ascontiguousarray(expected[:, 0])
    return largest


def _compare_logits(bundle: Bundle, other: TeacherForced, reference: _Reference) -> tuple[float, float]:
    """Return the largest difference of a logit and the mean KL over the reference's audio."""
    manifest = bundle.manifest
    top, window = manifest.top_frame, compared_at_once(manifest, len(CLIPS))
    samples = reference.uniforms.shape[1]
    largest, divergence = 0.0, 0.0
    for side in (reference.forced, other):
        side.start(len(CLIPS))
    for first in range(0, samples, window):
        codes = reference.codes[:, first : min(first + window, samples) + top]
        expected, made = reference.forced.logits(codes), other.logits(codes)
        largest = max(largest, float(np.abs(made - expected).max()))
        p, q = log_softmax(expected), log_softmax(made)
        divergence += float((np.exp(p) * (p - q)).sum())
    return largest, divergence / reference.uniforms.size


def _compare_codes(bundle: Bundle, engine: Engine, reference: _Reference) -> tuple[int, bool]:
    """Generate from the same uniforms; count codes up to the first difference, and say whether each is a tie."""
    top = bundle.manifest.top_frame
    expected = reference.codes[:, top:]
    drawn = Sampler(bundle, CLIPS, seed=SEED, engine=engine).codes(expected.shape[1])
    identical, tied = 0, True
    for clip in range(len(CLIPS)):
        different = np.flatnonzero(drawn[clip] != expected[clip])
        if not len(different):
            identical += expected.shape[1]
            continue
        first = int(different[0])
        identical += first
        tied = tied and _is_tie(bundle, reference, clip, first)
    return identical, tied


def _is_tie(bundle: Bundle, reference: _Reference, clip: int, at: int) -> bool:
    """Whether a draw of the reference lay so near to an edge that rounding may decide it."""
    top, hop = bundle.manifest.top_frame, bundle.manifest.top_hop
    reference.forced.start(len(CLIPS))
    codes = reference.codes[:, : top + (at // hop + 1) * hop]
    likelihoods = np.exp(log_softmax(reference.forced.logits(codes)[clip, at]))
    edges = np.cumsum(likelihoods)
    return bool(np.abs(edges - reference.uniforms[clip, at]).min() <= TIE)
