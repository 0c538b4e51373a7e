"""Measures what a precision costs: each variant of a bundle against fp32, predicting the same audio."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slash_export.scoring import BundleScorer, target_nats
from slash_export.teacher_forcing import divergences, log_softmax
from slash_export.tolerances import MOST_BITS_LOST, compared_at_once
from slash_infer.bundle import Bundle, Fidelity, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler
from slash_train.corpus import Corpus
from slash_train.evaluate import spread
from slash_train.run import Run
from slash_train.streams import NO_TARGET, Window, WindowReader, cut_clips, read_once

CLIPS = 8
CLIP_SECONDS = 1.0


@dataclass(frozen=True)
class Excerpt:
    """Audio to compare on."""

    source: Literal["validation", "generated"]
    windows: list[Window]
    """Every lane's windows in order, the first of them starting."""


def take_excerpt(bundle: Bundle, run: Run) -> Excerpt:
    """Return some seconds that the model was not trained on, or, where its corpus is gone, that it generates."""
    manifest = bundle.manifest
    window = compared_at_once(manifest, CLIPS)
    corpus = _corpus_of(run)
    if corpus is None or not corpus.length("valid"):
        return Excerpt("generated", list(_generated(bundle, window)))
    clips = spread(cut_clips(corpus, "valid", CLIP_SECONDS), CLIPS * CLIP_SECONDS * corpus.sample_rate)
    reader = WindowReader(corpus, manifest.codec, manifest.top_frame, window)
    return Excerpt("validation", [read for _, read in read_once(clips, reader, len(clips), window)])


def measure_fidelity(bundle: Bundle, precision: Precision, excerpt: Excerpt) -> Fidelity:
    """Compare a variant with fp32, both on the CPU, each with the RNN state of its own making.

    Args:
        bundle: that has the variant.
        precision: the variant's.
        excerpt: what both predict.

    Returns:
        the comparison, for the manifest.

    Raises:
        UserError: the variant computes numbers that are not finite.
    """
    cpu = OnnxCpu()
    exact, rough = (BundleScorer(bundle, Engine(bundle, cpu, which)) for which in ("fp32", precision))
    samples, largest, divergence, nats, exact_nats = 0, 0.0, 0.0, 0.0, 0.0
    for window in excerpt.windows:
        counted = window.targets != NO_TARGET
        expected, made = exact.logits(window), rough.logits(window)
        largest = float(np.maximum(largest, np.abs(made - expected)[counted].max(initial=0.0)))  # keeps nan
        p, q = log_softmax(expected), log_softmax(made)
        divergence += float((divergences(p, q) * counted).sum())
        nats += float(target_nats(q, window).sum())
        exact_nats += float(target_nats(p, window).sum())
        samples += int(counted.sum())
    if not math.isfinite(largest + divergence + nats):
        raise UserError(f"`precision` {precision}", "cannot hold this model's numbers", "leave it out")
    per_sample = samples * math.log(2)
    return Fidelity(
        excerpt=excerpt.source,
        samples=samples,
        max_logit_difference=largest,
        mean_kl=max(0.0, divergence / samples),  # it rounds to less where the two agree
        bits=nats / per_sample,
        fp32_bits=exact_nats / per_sample,
    )


def check_fidelity(precision: Precision, fidelity: Fidelity) -> None:
    """Refuse a variant that loses too much.

    Raises:
        UserError: it predicts the excerpt worse than fp32 by more than MOST_BITS_LOST bits per sample.
    """
    if not fidelity.loss <= MOST_BITS_LOST:
        raise UserError(
            f"`precision` {precision}",
            f"loses {fidelity.loss:.4f} bits/sample against fp32, over {MOST_BITS_LOST}",
            "leave it out, or pass `accept_loss`",
        )


def _corpus_of(run: Run) -> Corpus | None:
    """Return the corpus a run was trained on, if it is still where it was, and the same."""
    try:
        corpus = Corpus(run.corpus_path)
    except UserError:
        return None
    return corpus if corpus.fingerprint() == run.page.get("corpus_sha256") else None


def _generated(bundle: Bundle, window: int) -> Iterator[Window]:
    """Yield audio that fp32 generates, as windows."""
    manifest = bundle.manifest
    engine = Engine(bundle, OnnxCpu())
    sampler = Sampler(bundle, range(CLIPS), engine=engine)
    history = manifest.silence(CLIPS)
    for i in range(-(-round(CLIP_SECONDS * manifest.sample_rate) // window)):
        targets = sampler.codes(window)
        codes = np.concatenate([history, targets], axis=1)
        yield Window(codes.astype(np.int64), targets.astype(np.int64), np.full(CLIPS, i == 0))
        history = codes[:, -manifest.top_frame :]
