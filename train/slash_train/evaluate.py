"""Scores models and bundles on held-out audio, in bits per sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from slash_infer.codec import Codec
from slash_train.corpus import Corpus, Split
from slash_train.model import SampleRNN, State
from slash_train.streams import NO_TARGET, Clip, Window, WindowReader, cut_clips, read_once
from slash_train.workers import Workers

CLIP_SECONDS = 8.0  # recordings are cut into clips of at most this length; each starts from silence
WINDOW_SECONDS = 0.064  # read at once: bounds the memory, and changes nothing else
LANES = 32  # clips scored side by side


class Scorer(Protocol):
    """Something that tells how likely it finds audio."""

    @property
    def codec(self) -> Codec:
        """What it hears through."""

    @property
    def top_frame(self) -> int:
        """Codes of history it reads."""

    @property
    def top_hop(self) -> int:
        """Its windows are a multiple of this long."""

    def nats(self, window: Window) -> npt.NDArray[np.float64]:
        """Return the negative log-likelihoods of a window's targets summed per lane, [B].

        A window with `starting` set begins new clips; any other continues those of the call before.
        """


@dataclass(frozen=True)
class FileScore:
    """The score of one recording."""

    name: str
    samples: int
    bits: float
    """Per sample."""


def score_files(scorer: Scorer, corpus: Corpus, split: Split) -> list[FileScore]:
    """Score every recording of a split, whole. Empty when the split is."""
    clips = cut_clips(corpus, split, CLIP_SECONDS)
    nats = _score(scorer, corpus, clips)
    files = []
    for name in dict.fromkeys(clip.recording for clip in clips):
        of_file = [i for i, clip in enumerate(clips) if clip.recording == name]
        samples = sum(clips[i].length for i in of_file)
        files.append(FileScore(name, samples, _bits(nats[of_file].sum(), samples)))
    return files


def mean_bits(files: Sequence[FileScore]) -> float:
    """Bits per sample over all files together."""
    return sum(file.bits * file.samples for file in files) / sum(file.samples for file in files)


def bits_per_sample(
    scorer: Scorer,
    corpus: Corpus,
    split: Split,
    *,
    at_most_seconds: float = math.inf,
    workers: Workers | None = None,
) -> float:
    """Mean negative log2-likelihood per sample, every sample given all samples of its clip before it.

    Args:
        scorer: what to score.
        corpus: a corpus of the scorer's sample rate.
        split: which part to score; must not be empty.
        at_most_seconds: score clips spread evenly over the split, up to this much audio.
        workers: processes that share the work; this one alone when not given.

    Returns:
        bits per sample; log2(Q) is what knowing nothing costs.
    """
    workers = workers or Workers()
    clips = spread(cut_clips(corpus, split, CLIP_SECONDS), at_most_seconds * corpus.sample_rate)
    nats = _score(scorer, corpus, clips[workers.rank :: workers.count]).sum()
    total = workers.sum(torch.tensor([nats], dtype=torch.float64)).item()
    return _bits(total, sum(clip.length for clip in clips))


class ModelScorer:
    """Scores with a PyTorch model, on the device it is on.

    Args:
        model: the model.
        codec: what it was trained through.
    """

    def __init__(self, model: SampleRNN, codec: Codec) -> None:
        self.codec = codec
        self.top_frame, self.top_hop = model.config.top_frame, model.config.top_hop
        self._model = model
        self._state: State = []

    @torch.inference_mode()
    def nats(self, window: Window) -> npt.NDArray[np.float64]:
        """As `Scorer` says."""
        device = next(self._model.parameters()).device
        codes, targets = torch.from_numpy(window.codes).to(device), torch.from_numpy(window.targets).to(device)
        if window.starting.all():
            self._state = self._model.initial_state(len(window.starting))
        logits, self._state = self._model(codes, self._state)
        nats: Tensor = functional.cross_entropy(
            logits.transpose(1, 2),
            targets,
            ignore_index=NO_TARGET,
            reduction="none",
        )
        return np.asarray(nats.double().sum(1).cpu().numpy())


def _score(scorer: Scorer, corpus: Corpus, clips: Sequence[Clip]) -> npt.NDArray[np.float64]:
    """Return each clip's negative log-likelihood in nats, [clips]."""
    window = max(1, round(WINDOW_SECONDS * corpus.sample_rate / scorer.top_hop)) * scorer.top_hop
    reader = WindowReader(corpus, scorer.codec, scorer.top_frame, window)
    nats = np.zeros(len(clips))
    for lanes, windows in read_once(clips, reader, LANES, window):
        nats[lanes] += scorer.nats(windows)
    return nats


def _bits(nats: float, samples: int) -> float:
    return float(nats / samples / math.log(2))


def spread(clips: list[Clip], at_most: float) -> list[Clip]:
    """Keep clips evenly over the split: about `at_most` samples in all, and at least one clip."""
    total = sum(clip.length for clip in clips)
    kept = len(clips) if total <= at_most else max(1, int(len(clips) * at_most / total))
    return [clips[len(clips) * i // kept] for i in range(kept)]
