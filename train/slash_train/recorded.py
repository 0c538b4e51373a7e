"""Measures what the recordings do that a model has learned from, so that what it generates can keep to it."""

import math

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from slash_infer.audio.ear.harmonicity import block_harmonicities
from slash_infer.bundle import MOST_SURPRISE, Recorded
from slash_infer.codec import PCM16_SCALE, Codec
from slash_infer.sampling.steering import MEMORY_SECONDS, block_length, blocks_compared
from slash_train.clips import Clip, cut_clips
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.evaluate import CLIP_SECONDS, ModelScorer, score_windows, spread
from slash_train.model import SampleRNN
from slash_train.streams import NO_TARGET

AT_MOST_SECONDS = 60.0
WINDOWS = 4  # of evaluation, in a stretch: a quarter of a second
SETTLING = 2 * WINDOWS  # at the beginning of a clip, in which a model does not know yet what it hears
PERCENTILE = 50.0
SILENT_DB = 30.0  # under the mean level


def measure_recorded(model: SampleRNN, preset: Preset, corpus: Corpus) -> Recorded | None:
    """Return what recordings do: a minute of the training split, spread over it, without its long pauses.

    Args:
        model: a model of the preset.
        preset: says how the training split is cut.
        corpus: what the model has learned from.

    Returns:
        None if no clip has three quarters of a second.
    """
    cut = cut_clips(corpus, "train", CLIP_SECONDS, preset.training.longest_pause)
    clips = spread(cut, AT_MOST_SECONDS * corpus.sample_rate)
    surprises = _surprises(ModelScorer(model, preset.audio.codec), corpus, clips)
    stretches = [run.mean() for each in surprises for run in _runs(each, WINDOWS)[::WINDOWS]]
    if not stretches:
        return None
    block = block_length(corpus.sample_rate, preset.model.top_hop)
    second = blocks_compared(block, corpus.sample_rate)
    variations = [run.std() for each in surprises for run in _runs(each, second)]
    power = sum(float(np.square(clip.read(corpus.pcm) / PCM16_SCALE).sum()) for clip in clips)
    silence = 10 * math.log10(max(power / sum(clip.length for clip in clips), 1e-12)) - SILENT_DB
    repeating = [each for clip in clips for each in _harmonicities(clip, corpus, preset.audio.codec, block, silence)]
    return Recorded(
        surprise=min(round(float(np.percentile(stretches, PERCENTILE)), 3), MOST_SURPRISE),
        harmonicity=round(float(np.median(repeating)), 3) if repeating else 0.0,
        silence=round(silence, 1),
        pause=preset.training.longest_pause,
        variation=min(round(float(min(variations, default=0.0)), 4), MOST_SURPRISE),
    )


def _surprises(scorer: ModelScorer, corpus: Corpus, clips: list[Clip]) -> list[npt.NDArray[np.float64]]:
    """Return the bits/sample of each whole window of each clip, [n], but for those at its beginning."""
    windows: list[list[float]] = [[] for _ in clips]
    for lanes, window, of_window in score_windows(scorer, corpus, clips):
        whole = (window.targets != NO_TARGET).all(axis=1)
        for clip, nll in zip(np.array(lanes)[whole], of_window[whole], strict=True):
            windows[clip].append(nll / window.targets.shape[1] / math.log(2))
    return [np.array(each[SETTLING:]) for each in windows]


def _harmonicities(clip: Clip, corpus: Corpus, codec: Codec, block: int, silence: float) -> npt.NDArray[np.float64]:
    """Return the harmonicity of a clip's stretches of a quarter of a second without a silent block, [n].

    It is heard as generated clips are: through the codec.
    """
    blocks = max(1, round(MEMORY_SECONDS * corpus.sample_rate / block))
    samples = codec.decode(codec.encode_pcm16(clip.read(corpus.pcm))).astype(np.float64)
    frames = samples[: len(samples) // block * block].reshape(-1, block)
    loud = np.square(frames).mean(axis=1) >= 10 ** (silence / 10)
    repeats = np.where(loud, block_harmonicities(frames, corpus.sample_rate), np.nan)
    means = _runs(repeats, blocks)[::blocks].mean(axis=1)
    return np.asarray(means[np.isfinite(means)])


def _runs(bits: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Return every run of so many windows, [n - length + 1, length]; none of fewer windows."""
    return sliding_window_view(bits, length) if len(bits) >= length else np.zeros((0, length))
