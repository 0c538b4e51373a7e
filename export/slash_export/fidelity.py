"""Measures what a precision costs: how well each variant of a bundle predicts the same audio as fp32."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from slash_export.scoring import BundleScorer, target_nll
from slash_export.teacher_forcing import divergences, log_softmax
from slash_export.tolerances import MOST_BITS_LOST, compared_at_once
from slash_infer.bundle import Bundle, Fidelity, Precision
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train.clips import cut_clips
from slash_train.corpus import Corpus
from slash_train.evaluate import spread
from slash_train.streams import NO_TARGET, Window, WindowReader, read_once

CLIPS = 8
CLIP_SECONDS = 1.0
CHANCE = 2.0  # standard errors of the loss that are left to chance


@dataclass(frozen=True)
class Excerpt:
    """Audio to compare on."""

    source: Literal["validation", "generated"]
    windows: list[Window]
    """Consecutive windows of all lanes; the first ones start the clips."""


def take_excerpt(bundle: Bundle, corpus: Corpus | None) -> Excerpt:
    """Return a few seconds of the validation split or, if the run's corpus is gone, of generated audio."""
    manifest = bundle.manifest
    window = compared_at_once(manifest, CLIPS)
    if corpus is None or not corpus.length("valid"):
        return Excerpt("generated", list(_generated(bundle, window)))
    clips = spread(cut_clips(corpus, "valid", CLIP_SECONDS), CLIPS * CLIP_SECONDS * corpus.sample_rate)
    reader = WindowReader(manifest.codec, manifest.context, window)
    return Excerpt("validation", [read for _, read in read_once(corpus, clips, reader, len(clips), window)])


def measure_fidelity(bundle: Bundle, precision: Precision, excerpt: Excerpt) -> tuple[Fidelity, float]:
    """Compare a variant with fp32, both on the CPU, each carrying its own RNN state.

    In a barely trained LSTM the two states part, however little the precision loses, and the loss is half chance.

    Args:
        bundle: a bundle that has the variant.
        precision: the precision of the variant.
        excerpt: the audio that both predict.

    Returns:
        the comparison, for the manifest; and the standard error of its loss over the clips, in bits per sample.

    Raises:
        UserError: the variant computes numbers that are not finite.
    """
    cpu = OnnxCpu()
    exact, rough = (BundleScorer(bundle, Engine(bundle, cpu, which)) for which in ("fp32", precision))
    largest, divergence = 0.0, 0.0
    samples, nll, exact_nll = np.zeros((3, len(excerpt.windows[0].targets)))  # of each clip
    for window in excerpt.windows:
        counted = window.targets != NO_TARGET
        expected, actual = exact.logits(window), rough.logits(window)
        largest = float(np.maximum(largest, np.abs(actual - expected)[counted].max(initial=0.0)))  # propagates NaN
        p, q = log_softmax(expected), log_softmax(actual)
        divergence += float((divergences(p, q) * counted).sum())
        nll += target_nll(q, window)
        exact_nll += target_nll(p, window)
        samples += counted.sum(axis=1)
    if not math.isfinite(largest + divergence + nll.sum()):
        raise UserError(Argument("precision", precision), "cannot hold this model's numbers", "leave it out")
    total = samples.sum()
    fidelity = Fidelity(
        excerpt=excerpt.source,
        samples=int(total),
        max_logit_difference=largest,
        mean_kl=max(0.0, divergence / total),  # rounding can make it negative where the two agree
        bits=nll.sum() / total / math.log(2),
        fp32_bits=exact_nll.sum() / total / math.log(2),
    )
    lost = (nll - exact_nll) / math.log(2)  # bits of each clip
    return fidelity, _standard_error(lost, samples)


def _standard_error(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> float:
    """Return the standard error of sum(sums) / sum(counts), each entry of which is independent; 0 if there is one."""
    clips = len(sums)
    residuals = sums - counts * (sums.sum() / counts.sum())
    return float(np.sqrt(clips / max(1, clips - 1) * (residuals**2).sum()) / counts.sum())


def check_fidelity(precision: Precision, fidelity: Fidelity, standard_error: float = 0.0) -> None:
    """Check that a variant predicts the excerpt nearly as well as fp32.

    Args:
        precision: the precision of the variant.
        fidelity: what was measured.
        standard_error: of the loss measured, in bits per sample.

    Raises:
        UserError: it loses more than MOST_BITS_LOST bits per sample, and by more than chance explains.
    """
    if not fidelity.loss - CHANCE * standard_error <= MOST_BITS_LOST:
        raise UserError(
            Argument("precision", precision),
            f"loses {fidelity.loss:.4f} bits/sample against fp32, over {MOST_BITS_LOST}",
            "leave it out, or pass `accept_loss`",
        )


def _generated(bundle: Bundle, window: int) -> Iterator[Window]:
    """Yield windows of audio generated by fp32."""
    manifest = bundle.manifest
    engine = Engine(bundle, OnnxCpu())
    sampler = Sampler(bundle, range(CLIPS), temperature=1.0, candidates=1, restart=False, engine=engine)
    history = manifest.silence(CLIPS)
    for i in range(-(-round(CLIP_SECONDS * manifest.sample_rate) // window)):
        targets = sampler.codes(window)
        codes = np.concatenate([history, targets], axis=1)
        yield Window(codes.astype(np.int64), targets.astype(np.int64), np.full(CLIPS, i == 0))
        history = codes[:, -manifest.context :]
