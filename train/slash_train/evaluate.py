"""Scores models and bundles on held-out audio, in bits per sample."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from slash_infer.codec import Codec
from slash_infer.sampling.steering import block_length
from slash_train.choices import Split
from slash_train.clips import Clip, cut_clips
from slash_train.corpus import Corpus
from slash_train.model import SampleRNN, State
from slash_train.streams import NO_TARGET, Window, WindowReader, read_once
from slash_train.workers import Workers

CLIP_SECONDS = 8.0  # recordings are cut into clips of at most this length; each starts from silence
LANES = 32  # clips scored in parallel


class Scorer(Protocol):
    """Something that gives the likelihood of audio."""

    codec: Codec
    """The codec to encode the audio with."""
    context: int
    """Codes in front of each window."""
    top_hop: int
    """The length of a window is a multiple of this."""

    def nll(self, window: Window) -> npt.NDArray[np.float64]:
        """Return the negative log-likelihood of each lane's targets in nats, summed over the window, [B].

        A window with `starting` set starts new clips; any other continues the clips of the call before.
        """


@dataclass(frozen=True)
class FileScore:
    """The score of one recording."""

    name: str
    samples: int
    bits: float
    """Bits per sample."""


def score_files(scorer: Scorer, corpus: Corpus, split: Split) -> list[FileScore]:
    """Score every recording of a split in full; return no scores if the split is empty."""
    clips = cut_clips(corpus, split, CLIP_SECONDS)
    nll = _score(scorer, corpus, clips)
    files = []
    for name in dict.fromkeys(clip.recording for clip in clips):
        of_file = [i for i, clip in enumerate(clips) if clip.recording == name]
        samples = sum(clips[i].length for i in of_file)
        files.append(FileScore(name, samples, _bits(nll[of_file].sum(), samples)))
    return files


def mean_bits(files: Sequence[FileScore]) -> float:
    """Return the bits per sample over all files, weighted by their lengths."""
    return sum(file.bits * file.samples for file in files) / sum(file.samples for file in files)


def bits_per_sample(
    scorer: Scorer,
    corpus: Corpus,
    split: Split,
    *,
    at_most_seconds: float = math.inf,
    workers: Workers | None = None,
) -> float:
    """Return the mean negative log2-likelihood per sample, each sample given those before it in its clip.

    Args:
        scorer: the model or bundle to score.
        corpus: a corpus at the scorer's sample rate.
        split: the part to score; must not be empty.
        at_most_seconds: score only this much audio, in clips spread evenly over the split.
        workers: processes to share the work with; this process alone if not given.

    Returns:
        bits per sample; a uniform distribution over Q codes scores log2(Q).
    """
    workers = workers or Workers()
    clips = spread(cut_clips(corpus, split, CLIP_SECONDS), at_most_seconds * corpus.sample_rate)
    nll = _score(scorer, corpus, clips[workers.rank :: workers.count]).sum()
    total = workers.sum(torch.tensor([nll], dtype=torch.float64)).item()
    return _bits(total, sum(clip.length for clip in clips))


class ModelScorer(Scorer):
    """Scores audio with a PyTorch model, on the model's device.

    Args:
        model: the model.
        codec: the codec it was trained with.
    """

    def __init__(self, model: SampleRNN, codec: Codec) -> None:
        self.codec = codec
        self.context, self.top_hop = model.config.context, model.config.top_hop
        self._model = model
        self._state: State = []

    @override
    def nll(self, window: Window) -> npt.NDArray[np.float64]:
        logits = self.logits(window)
        nll: Tensor = functional.cross_entropy(
            logits.transpose(1, 2),
            torch.from_numpy(window.targets).to(logits.device),
            ignore_index=NO_TARGET,
            reduction="none",
        )
        return np.asarray(nll.double().sum(1).cpu().numpy())

    @torch.inference_mode()
    def logits(self, window: Window) -> Tensor:
        """Return the logits of a window's codes, [B, T, Q]; windows follow one another as for `nll`."""
        codes = torch.from_numpy(window.codes).to(next(self._model.parameters()).device)
        if window.starting.all():
            self._state = self._model.initial_state(len(window.starting))
        logits: Tensor
        logits, self._state = self._model(codes, self._state)
        return logits


def _score(scorer: Scorer, corpus: Corpus, clips: Sequence[Clip]) -> npt.NDArray[np.float64]:
    """Return each clip's negative log-likelihood in nats, [clips]."""
    nll = np.zeros(len(clips))
    for lanes, _, of_window in score_windows(scorer, corpus, clips):
        nll[lanes] += of_window
    return nll


def score_windows(
    scorer: Scorer, corpus: Corpus, clips: Sequence[Clip]
) -> Iterator[tuple[list[int], Window, npt.NDArray[np.float64]]]:
    """Score every window of every clip. Windows are as long as the blocks that a sampler decides after.

    Args:
        scorer: the model or bundle to score.
        corpus: a corpus at the scorer's sample rate.
        clips: of the corpus.

    Yields:
        for each lane the index of its clip in `clips`; the windows of the lanes, one after another; and each lane's
        negative log-likelihood in nats.
    """
    window = block_length(corpus.sample_rate, scorer.top_hop)
    reader = WindowReader(scorer.codec, scorer.context, window)
    for lanes, windows in read_once(corpus, clips, reader, LANES, window):
        yield lanes, windows, scorer.nll(windows)


def _bits(nll: float, samples: int) -> float:
    return float(nll / samples / math.log(2))


def spread(clips: list[Clip], at_most: float) -> list[Clip]:
    """Return clips spread evenly over `clips`: about `at_most` samples in total, and at least one clip."""
    total = sum(clip.length for clip in clips)
    kept = len(clips) if total <= at_most else max(1, int(len(clips) * at_most / total))
    return [clips[len(clips) * i // kept] for i in range(kept)]
