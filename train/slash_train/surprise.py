"""How much a model is surprised by the recordings that it has learned from: the range for what it generates."""

import math

import numpy as np

from slash_infer.bundle import MOST_SURPRISE, SurpriseRange
from slash_train.clips import cut_clips
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.evaluate import CLIP_SECONDS, LANES, WINDOW_SECONDS, ModelScorer, spread
from slash_train.model import SampleRNN
from slash_train.streams import NO_TARGET, WindowReader, read_once

AT_MOST_SECONDS = 60.0
WINDOWS = 4  # of evaluation, in a stretch: a quarter of a second
SETTLING = 2  # stretches at the beginning of a clip, in which a model does not know yet what it hears
PERCENTILES = (1.0, 99.0)


def surprise_of_recordings(model: SampleRNN, preset: Preset, corpus: Corpus) -> SurpriseRange | None:
    """Return how much a quarter of a second of recordings surprises a model: the 1st and the 99th percentile.

    Of a minute of the training split at most, spread over it and without its long pauses, as in training.

    Args:
        model: a model of the preset.
        preset: says how the training split is cut.
        corpus: what the model has learned from.

    Returns:
        bits/sample; None if no clip has three quarters of a second.
    """
    clips = [
        np.reshape(windows[: len(windows) // WINDOWS * WINDOWS], (-1, WINDOWS)).mean(axis=1)[SETTLING:]
        for windows in _windows(ModelScorer(model, preset.audio.codec), preset, corpus)
    ]
    stretches = np.concatenate(clips)
    if not len(stretches):
        return None
    least, most = np.percentile(stretches, PERCENTILES).clip(0, MOST_SURPRISE)
    return SurpriseRange(round(float(least), 3), round(float(most), 3))


def _windows(scorer: ModelScorer, preset: Preset, corpus: Corpus) -> list[list[float]]:
    """Return the bits/sample of each whole window of each clip."""
    length = max(1, round(WINDOW_SECONDS * corpus.sample_rate / scorer.top_hop)) * scorer.top_hop
    clips = cut_clips(corpus, "train", CLIP_SECONDS, preset.training.longest_pause)
    chosen = spread(clips, AT_MOST_SECONDS * corpus.sample_rate)
    bits: list[list[float]] = [[] for _ in chosen]
    reader = WindowReader(scorer.codec, scorer.context, length)
    for lanes, window in read_once(corpus, chosen, reader, LANES, length):
        whole = (window.targets != NO_TARGET).all(axis=1)
        for clip, nll in zip(np.array(lanes)[whole], scorer.nll(window)[whole], strict=True):
            bits[clip].append(nll / length / math.log(2))
    return bits
