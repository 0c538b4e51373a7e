"""The classical answer: adaptive linear predictors in a cascade, as lossless audio coders have them.

    python benchmarks/nlms.py corpus --json benchmarks/results/nlms.json

Nothing is trained. A normalised least-mean-squares predictor (NLMS; Haykin, Adaptive Filter Theory, chapter on
NLMS) guesses each sample from those before it, the next one guesses what the first got wrong, and so on; each learns
from every sample once it is known. The codes' probabilities are those of a mixture of logistic distributions around
the guess, as wide as recent errors were times some factors, weighted by how well each did lately. Everything is
computed from samples of the past, so these are true likelihoods, to be compared with a model's; but the cascade
hears each held-out region whole, from its beginning, and goes on learning while it is scored, where a model is given
clips of eight seconds. A code's share reaches halfway to the samples of its neighbours. The speed is that of a loop
in numpy.

Shapes: B recordings side by side, K logistic distributions, N the order of a predictor.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from learning import HELD_OUT, minutes
from racing import drawing

from slash_infer.codec import Codec
from slash_infer.files import write_json
from slash_infer.machine import describe_machine
from slash_train.choices import Split
from slash_train.config import load_preset
from slash_train.corpus import Corpus

Float64 = npt.NDArray[np.float64]

ORDERS, STEP_SIZES = (512, 128, 32, 16), (0.006, 0.03, 0.03, 0.05)
"""Of the cascade, and how far each moves towards the sample: 1 would fit it exactly. Chosen on training solos."""
PRODUCTS = 2 * sum(ORDERS)
"""Multiplications of weights for one sample: to guess, and to learn."""
FACTORS = 2.0 ** np.arange(-4.0, 3.0)
"""Widths of the distributions, in units of the mean recent error."""
MEMORIES = (20.0, 320.0)
"""Samples over which recent errors are averaged."""
FORGETTING = 0.98
"""How much of a distribution's log-likelihood counts a sample later."""
LEAST_WIDTH = 1e-5
LEAST_ENERGY = 1e-3
AT_ONCE = 4096  # samples, until the newest are copied to the front
FLOOR = 1e-9
"""What every code is given: a decoder must be able to read any."""


class Predictor:
    """An NLMS predictor for B recordings.

    Args:
        recordings: B.
        order: N, samples that it looks back.
        step_size: how far it moves towards each sample.
    """

    def __init__(self, recordings: int, order: int, step_size: float) -> None:
        self._order, self._step_size = order, step_size
        self._weights = np.zeros((recordings, order))
        self._samples = np.zeros((recordings, order + AT_ONCE))
        self._begin = 0

    def guess(self) -> Float64:
        """Return the next sample of every recording, as far as can be told, [B]."""
        return np.asarray(np.einsum("bn,bn->b", self._weights, self._past()))

    def learn(self, sample: Float64, error: Float64) -> None:
        """Move towards a sample [B], and remember it. `error` is by how much the guess was too small, [B]."""
        past = self._past()
        energy = np.einsum("bn,bn->b", past, past) + LEAST_ENERGY
        self._weights += (self._step_size * error / energy)[:, np.newaxis] * past
        self._samples[:, self._begin + self._order] = sample
        self._begin += 1
        if self._begin == AT_ONCE:
            self._samples[:, : self._order] = self._samples[:, AT_ONCE:]
            self._begin = 0

    def _past(self) -> Float64:
        """Return the last N samples, [B, N]."""
        return self._samples[:, self._begin : self._begin + self._order]


class Cascade:
    """Predictors one after another, and the probabilities of the next code, for B recordings.

    Args:
        codec: what the codes stand for.
        recordings: B.
    """

    def __init__(self, codec: Codec, recordings: int) -> None:
        self._codec = codec
        self._predictors = [
            Predictor(recordings, order, step_size) for order, step_size in zip(ORDERS, STEP_SIZES, strict=True)
        ]
        samples = codec.decode(np.arange(codec.levels)).astype(np.float64)
        self._samples = samples
        between = (samples[1:] + samples[:-1]) / 2
        self._lower, self._upper = np.append(-np.inf, between), np.append(between, np.inf)
        self._decays = np.exp(-1 / np.array(MEMORIES))
        self._errors = np.full((recordings, len(MEMORIES)), 0.01)
        self._log_weights = np.zeros((recordings, len(MEMORIES) * len(FACTORS)))

    def guesses(self) -> Float64:
        """Return what every predictor guesses: the sample, or what is left of it, [predictors, B]."""
        return np.array([predictor.guess() for predictor in self._predictors])

    def likelihoods(self, guess: Float64, lower: Float64, upper: Float64) -> Float64:
        """Return how likely each distribution finds a sample between two bounds, [B, ..., K].

        Args:
            guess: of the next sample, [B].
            lower: [B, ...].
            upper: [B, ...].
        """
        widths = np.maximum(self._errors[:, :, np.newaxis] * FACTORS, LEAST_WIDTH).reshape(len(guess), -1)
        shape = (len(guess), *(1,) * (lower.ndim - 1), -1)
        centre, widths = guess.reshape(shape), widths.reshape(shape)
        below = _logistic((lower[..., np.newaxis] - centre) / widths)
        return np.asarray(_logistic((upper[..., np.newaxis] - centre) / widths) - below)

    def weights(self) -> Float64:
        """Return how much each distribution counts, [B, K]."""
        weights = np.exp(self._log_weights - self._log_weights.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def probabilities(self) -> Float64:
        """Return the probability of every code, [B, Q]. It changes nothing."""
        guess = self.guesses().sum(axis=0)
        bounds = (np.broadcast_to(edge, (len(guess), self._codec.levels)) for edge in (self._lower, self._upper))
        mixed = (self.likelihoods(guess, *bounds) * self.weights()[:, np.newaxis]).sum(axis=-1)
        return np.asarray((1 - FLOOR * self._codec.levels) * mixed + FLOOR)

    def learn(self, codes: npt.NDArray[np.int64]) -> Float64:
        """Learn from the next code of every recording, [B]; return the probabilities that they had, [B]."""
        guesses, samples = self.guesses(), self._samples[codes]
        guess = guesses.sum(axis=0)
        likelihoods = self.likelihoods(guess, self._lower[codes], self._upper[codes])
        probability = (likelihoods * self.weights()).sum(axis=-1)
        self._log_weights = FORGETTING * self._log_weights + np.log(likelihoods + FLOOR)
        self._errors += (1 - self._decays) * (np.abs(samples - guess)[:, np.newaxis] - self._errors)
        target = samples
        for predictor, one in zip(self._predictors, guesses, strict=True):
            predictor.learn(target, target - one)
            target = target - one
        return np.asarray((1 - FLOOR * self._codec.levels) * probability + FLOOR)


def nlms_bits(codec: Codec, recordings: Sequence[npt.NDArray[np.int16]]) -> float:
    """Return the bits per sample of recordings, [T] each, all of them from their beginnings side by side."""
    longest_first = sorted(recordings, key=len, reverse=True)
    codes = [codec.encode_pcm16(recording) for recording in longest_first]
    padded = np.full((len(codes), len(codes[0])), codec.silence)
    for row, one in zip(padded, codes, strict=True):
        row[: len(one)] = one
    lengths = np.array([len(one) for one in codes])
    cascade, bits = Cascade(codec, len(codes)), 0.0
    for t in range(len(codes[0])):
        probabilities = cascade.learn(padded[:, t])
        bits -= float(np.log2(probabilities[lengths > t]).sum())
    return bits / float(lengths.sum())


def score_nlms(codec: Codec, corpus: Corpus, split: Split) -> float:
    """Return the bits per sample of a split of a corpus, each region from its beginning."""
    recordings = [corpus.pcm[region.start : region.start + region.length] for region in corpus.regions(split)]
    return nlms_bits(codec, recordings)


def start_nlms(codec: Codec) -> Callable[[int], object]:
    """Return a function that generates a number of further samples of one clip."""
    cascade = Cascade(codec, 1)

    def advance(code: int) -> Float64:
        cascade.learn(np.array([code]))
        return np.asarray(cascade.probabilities()[0].cumsum())

    return drawing(cascade.probabilities()[0].cumsum(), advance)


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
) -> None:
    """Score the held-out splits, with the codec of preset live."""
    opened, codec = Corpus(corpus), load_preset("live").audio.codec
    bits = {split: score_nlms(codec, opened, split) for split in HELD_OUT}
    print(", ".join(f"{split} {one:.3f} bits per sample" for split, one in bits.items()))
    if json_file is not None:
        content = {"machine": asdict(describe_machine()), "minutes": minutes(opened)}
        write_json(json_file, content | {"orders": ORDERS, "step_sizes": STEP_SIZES, "bits": bits})


def _logistic(x: Float64) -> Float64:
    """Return the distribution function of the logistic distribution."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


if __name__ == "__main__":
    typer.run(main)
