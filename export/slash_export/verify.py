"""Compares every engine and precision of a bundle with fp32 on the CPU: layers, logits, and the codes drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from slash_export.teacher_forcing import TeacherForced, divergences, log_softmax, outside
from slash_export.tolerances import MOST_BITS_LOST, ROUGH_TIE, TIE, compared_at_once, logit_tolerance
from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Runtime
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.randomness import Uniforms
from slash_infer.sampling.sampler import Sampler

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
class Refusal:
    """An engine and precision that could not be compared."""

    runtime: str
    precision: Precision
    reason: str


@dataclass(frozen=True)
class _Reference:
    """fp32 on the CPU, and what it drew."""

    codes: npt.NDArray[np.int32]  # [B, top + T], after silence
    forced: TeacherForced


def verify(bundle: Bundle, runtimes: Sequence[Runtime[Any]]) -> list[Verdict | Refusal]:
    """Compare each runtime in each precision it has graphs for.

    Args:
        bundle: what to run.
        runtimes: where.

    Returns:
        the verdicts, or why there is none; nothing of fp32 on the CPU, which all are compared with.
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
    found: list[Verdict | Refusal] = []
    for runtime, precision in wanted:
        try:
            found.append(_compare(bundle, runtime, precision, reference))
        except UserError as reason:
            found.append(Refusal(runtime.name, precision, str(reason)))
    return found


def _reference(bundle: Bundle) -> _Reference:
    manifest = bundle.manifest
    forced = TeacherForced(bundle, Engine(bundle, OnnxCpu()))
    samples = -(-round(SECONDS * manifest.sample_rate) // manifest.top_hop) * manifest.top_hop
    drawn = Sampler(bundle, CLIPS, seed=SEED, engine=forced.engine).codes(samples)
    return _Reference(np.concatenate([manifest.silence(len(CLIPS)), drawn], axis=1), forced)


def _compare(bundle: Bundle, runtime: Runtime[Any], precision: Precision, reference: _Reference) -> Verdict:
    other = TeacherForced(bundle, Engine(bundle, runtime, precision))
    logit_difference, allowed, mean_kl = _compare_logits(bundle, other, reference)
    identical, stray = _compare_codes(bundle, other, reference, precision, logit_difference)
    return Verdict(
        runtime=runtime.name,
        precision=precision,
        max_layer_difference=_compare_layers(bundle, other, reference),
        max_logit_difference=logit_difference,
        mean_kl=mean_kl,
        identical=identical,
        codes=reference.codes[:, bundle.manifest.top_frame :].size,
        fault=_fault(bundle, precision, logit_difference, allowed, mean_kl) or stray,
    )


def _fault(
    bundle: Bundle, precision: Precision, logit_difference: float, allowed: float, mean_kl: float
) -> str | None:
    """Say whether the logits are further off than the precision explains."""
    if precision == "fp32":
        near = logit_difference <= allowed and np.isfinite(mean_kl)
        return None if near else f"logits differ by {logit_difference:.1e}, more than {allowed:.1e}"
    fidelity = bundle.variant(precision).fidelity
    most = max(MOST_BITS_LOST * log(2), 2 * fidelity.mean_kl if fidelity is not None else 0.0)
    return None if mean_kl <= most else f"mean KL is over {most:.1e}"


def _compare_layers(bundle: Bundle, other: TeacherForced, reference: _Reference) -> float:
    """Run each frame tier of both on the same frames, conditioning and first states; return what differs most."""
    manifest, largest = bundle.manifest, 0.0
    conditioning = None
    for side in (reference.forced, other):
        side.start(len(CLIPS))
    for k in range(len(manifest.frame_tiers), 0, -1):
        frame = reference.codes[:, -manifest.frame_tiers[k - 1].frame_size :]
        expected, made = (side.step(k, frame, conditioning) for side in (reference.forced, other))
        largest = float(np.maximum(largest, np.abs(made - expected).max()))  # keeps nan
        conditioning = np.ascontiguousarray(expected[:, 0])
    return largest


def _compare_logits(bundle: Bundle, other: TeacherForced, reference: _Reference) -> tuple[float, float, float]:
    """Return the largest difference of a logit, what fp32's may be, and the mean KL over the reference's audio."""
    manifest = bundle.manifest
    top, window = manifest.top_frame, compared_at_once(manifest, len(CLIPS))
    samples = reference.codes.shape[1] - top
    largest, allowed, divergence = 0.0, 0.0, 0.0
    for side in (reference.forced, other):
        side.start(len(CLIPS))
    for first in range(0, samples, window):
        codes = reference.codes[:, first : min(first + window, samples) + top]
        expected, made = reference.forced.logits(codes), other.logits(codes)
        largest = float(np.maximum(largest, np.abs(made - expected).max()))
        allowed = max(allowed, logit_tolerance(expected))
        divergence += float(divergences(log_softmax(expected), log_softmax(made)).sum())
    return largest, allowed, divergence / (len(CLIPS) * samples)


def _compare_codes(
    bundle: Bundle, other: TeacherForced, reference: _Reference, precision: Precision, logit_difference: float
) -> tuple[int, str | None]:
    """Generate as users do, from the reference's uniforms.

    Returns:
        how many codes of each clip are the reference's until the first difference, added up; and what is wrong when
        a code is not the one that the same graphs, fed with the codes before it, give for its uniform.
    """
    top = bundle.manifest.top_frame
    samples, window = reference.codes.shape[1] - top, compared_at_once(bundle.manifest, len(CLIPS))
    drawn = Sampler(bundle, CLIPS, seed=SEED, engine=other.engine).codes(samples)
    uniform = Uniforms(SEED, CLIPS).next(samples)
    same = drawn == reference.codes[:, top:]
    identical = int(np.where(same.all(axis=1), samples, same.argmin(axis=1)).sum())
    codes = np.concatenate([bundle.manifest.silence(len(CLIPS)), drawn], axis=1)
    tie = max(TIE, logit_difference) if precision == "fp32" else ROUGH_TIE
    other.start(len(CLIPS))
    for first in range(0, samples, window):
        end = min(first + window, samples)
        off = outside(other.logits(codes[:, first : end + top]), drawn[:, first:end], uniform[:, first:end])
        if not off.max() <= tie:
            return identical, "draws codes that its own logits do not give"
    return identical, None
