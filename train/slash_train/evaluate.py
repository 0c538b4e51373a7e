"""Scores a model on held-out audio, in bits per sample."""

import math

import torch
from torch.nn import functional

from slash_train.config import Preset
from slash_train.corpus import Corpus, Split
from slash_train.model import SampleRNN
from slash_train.streams import NO_TARGET, Clip, WindowReader, cut_clips, read_once

LANES = 32  # clips scored side by side


def bits_per_sample(
    model: SampleRNN, preset: Preset, corpus: Corpus, split: Split, *, at_most_seconds: float = math.inf
) -> float:
    """Mean negative log2-likelihood per sample, every sample given all samples of its clip before it.

    Clips are cut as in training and start from the initial state and silence.

    Args:
        model: the model, on any device; left in the mode it was in.
        preset: its configuration.
        corpus: a corpus of the same sample rate.
        split: which part to score; must not be empty.
        at_most_seconds: score clips spread evenly over the split, up to this much audio.

    Returns:
        bits per sample; log2(Q) is what knowing nothing costs.
    """
    clips = _spread(cut_clips(corpus, split, preset.training.clip_seconds), at_most_seconds * corpus.sample_rate)
    window = preset.training.window
    reader = WindowReader(corpus, preset.audio.codec, preset.model.top_frame, window)
    device = next(model.parameters()).device
    nats = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode():
        for batch in read_once(clips, reader, LANES, window):
            if batch.starting.all():
                state = model.initial_state(len(batch.starting))
            logits, state = model(torch.from_numpy(batch.codes).to(device), state)
            targets = torch.from_numpy(batch.targets).to(device)
            nats += functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
            )
    return nats.item() / sum(clip.length for clip in clips) / math.log(2)


def _spread(clips: list[Clip], at_most: float) -> list[Clip]:
    """Keep clips evenly over the split: about `at_most` samples in all, and at least one clip."""
    total = sum(clip.length for clip in clips)
    kept = len(clips) if total <= at_most else max(1, int(len(clips) * at_most / total))
    return [clips[len(clips) * i // kept] for i in range(kept)]
