"""Measures recordings at the corpus's rate while they are decoded, and takes out what drifts under the sound."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from slash_train.recordings import Mono, SourceStats

SILENCE = 10 ** (-60 / 20)  # a block whose peak is below -60 dBFS counts as silent
SILENCE_BLOCKS_PER_SECOND = 20


class Measurement:
    """Measures one recording.

    Args:
        sample_rate: of the samples in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.stats = SourceStats()
        self.length = 0
        """In samples."""
        self.lowest, self.highest = 0.0, 0.0
        """Samples, 0 among them."""
        self.silent_samples = 0
        self._silence = _Blocks(max(1, sample_rate // SILENCE_BLOCKS_PER_SECOND))
        self._seconds = _Blocks(sample_rate)
        self._weights: list[int] = []
        self._means: list[float] = []
        self._powers: list[float] = []

    def add(self, samples: Mono) -> None:
        """Measure the next samples."""
        self.length += len(samples)
        self.lowest = min(self.lowest, float(samples.min(initial=0.0)))
        self.highest = max(self.highest, float(samples.max(initial=0.0)))
        for blocks in self._silence.add(samples):
            self._count_silence(blocks)
        for blocks in self._seconds.add(samples):
            self._measure_seconds(blocks)

    def finish(self) -> None:
        """Measure what is left at the end."""
        for blocks in self._silence.rest():
            self._count_silence(blocks)
        for blocks in self._seconds.rest():
            self._measure_seconds(blocks)

    @property
    def peak(self) -> float:
        """Largest absolute sample."""
        return max(self.highest, -self.lowest)

    @property
    def offset(self) -> float:
        """Root mean square of the means of every second: an offset from zero, constant or drifting."""
        return float(np.sqrt(np.average(np.square(self._means), weights=self._weights)))

    @property
    def level(self) -> float:
        """Root mean square without the offset."""
        power = float(np.average(self._powers, weights=self._weights))
        return float(np.sqrt(max(0.0, power - self.offset**2)))

    @property
    def usual_level(self) -> float:
        """Median over the seconds of their root mean squares without their offsets."""
        powers = np.array(self._powers) - np.square(self._means)
        return float(np.sqrt(max(0.0, float(np.median(powers)))))

    def _count_silence(self, blocks: Mono) -> None:
        silent = np.abs(blocks).max(axis=1, initial=0.0) < SILENCE
        self.silent_samples += int(np.count_nonzero(silent)) * blocks.shape[1]

    def _measure_seconds(self, blocks: Mono) -> None:
        self._weights += [blocks.shape[1]] * len(blocks)
        exact = blocks.astype(np.float64)
        self._means += exact.mean(axis=1).tolist()
        self._powers += (np.einsum("ij,ij->i", exact, exact) / blocks.shape[1]).tolist()


class DriftRemover:
    """Subtracts what changes slower than about once a second: a constant offset, and its drift.

    That is the means of every second, joined by straight lines from the middle of one to the middle of the next. The
    first and the last line go on to the ends.

    Args:
        sample_rate: of the samples in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._shortest = sample_rate // 2
        self._seconds = _Blocks(sample_rate)
        self._waiting: Mono = np.zeros(0, np.float32)
        self._middle = 0.0
        """Of the last second, counted from the first sample that waits."""
        self._mean: float | None = None
        """Of the last second."""
        self._slope = 0.0

    def add(self, samples: Mono) -> Iterator[Mono]:
        """Take the next samples; yield those that are ready: they come out late by up to two seconds."""
        for blocks in self._seconds.add(samples):
            for block in blocks:
                yield from self._next(block)

    def finish(self) -> Iterator[Mono]:
        """Yield what is left at the end."""
        for blocks in self._seconds.rest():
            rest = blocks[0]
            if self._mean is None or len(rest) >= self._shortest:
                yield from self._next(rest)
            else:  # too short to have a mean of its own
                self._waiting = np.concatenate([self._waiting, rest])
        yield self._flattened(self._waiting)

    def _next(self, block: Mono) -> Iterator[Mono]:
        """Take a second; yield the samples up to its middle."""
        middle, mean = len(self._waiting) + len(block) / 2, float(block.mean(dtype=np.float64))
        pending = np.concatenate([self._waiting, block])
        if self._mean is None:
            self._waiting, self._middle, self._mean = pending, middle, mean
            return
        self._slope = (mean - self._mean) / (middle - self._middle)
        ready = int(middle)
        yield self._flattened(pending[:ready])
        self._waiting, self._middle, self._mean = pending[ready:], middle - ready, mean

    def _flattened(self, samples: Mono) -> Mono:
        """Subtract the line through the middles of the last two seconds from the samples that wait."""
        line = (self._mean or 0.0) + self._slope * (np.arange(len(samples)) + 0.5 - self._middle)
        return np.asarray(samples - line, np.float32)


class _Blocks:
    """Cuts samples that arrive in pieces into blocks of equal length."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._remainder: Mono = np.zeros(0, np.float32)

    def add(self, samples: Mono) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the blocks that are full, [blocks, length], if there are any."""
        pending = np.concatenate([self._remainder, samples])
        whole = len(pending) // self._length * self._length
        self._remainder = pending[whole:]
        if whole:
            yield pending[:whole].reshape(-1, self._length)

    def rest(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield what did not fill a block, [1, n], if there is any."""
        if len(self._remainder):
            yield self._remainder[np.newaxis]
            self._remainder = self._remainder[:0]
