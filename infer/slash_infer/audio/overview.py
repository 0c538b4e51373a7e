"""What a picture of a clip shows, gathered block by block: neither its size nor the memory grows with the clip."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slash_infer.audio.clip_blocks import open_clip

Float64 = npt.NDArray[np.float64]

COLUMNS = 2000
"""From this many to twice as many are kept of a long clip: more would not be visible."""
WINDOW_SECONDS = 0.032
"""Of each Fourier transform: bins are 31 Hz apart at any sample rate."""
WINDOWS_TOGETHER = 512


class Columns:
    """Keeps rows that come one after another in few columns, by combining neighbours: more, the more there are.

    Args:
        combine: how rows are combined: `np.add`, for example.
    """

    def __init__(self, combine: np.ufunc) -> None:
        self._combine = combine
        self._kept: list[Float64] = []
        self._count = 0
        self._rest: Float64 | None = None
        self.each = 1
        """Rows in a column; fewer in the last."""
        self.rows = 0
        """All of them."""

    def add(self, rows: Float64) -> None:
        """Take the next rows, [n, width]."""
        self.rows += len(rows)
        rows = rows if self._rest is None else np.concatenate([self._rest, rows])
        while len(rows) >= self.each:
            columns = min(len(rows) // self.each, 2 * COLUMNS - self._count)
            taken = rows[: columns * self.each].reshape(columns, self.each, -1)
            self._kept.append(self._combine.reduce(taken, axis=1))
            self._count += columns
            rows = rows[columns * self.each :]
            if self._count == 2 * COLUMNS:
                all_ = np.concatenate(self._kept)
                self._kept, self._count, self.each = [self._combine(all_[::2], all_[1::2])], COLUMNS, 2 * self.each
        self._rest = rows.copy()

    def result(self) -> Float64:
        """Return the columns, [columns, width]."""
        rest = [] if self._rest is None or not len(self._rest) else [self._combine.reduce(self._rest)[np.newaxis]]
        return np.concatenate([*self._kept, *rest])


@dataclass(frozen=True)
class Overview:
    """A clip in columns."""

    seconds: float
    low: Float64
    """The lowest sample in each column of the waveform, [columns]."""
    high: Float64
    """The highest one."""
    column_seconds: float
    power: Float64
    """Density of the mean power over time and frequency, one-sided, in full scale squared per Hz, [columns, bins]."""
    spectrum_seconds: float
    """Of a column of `power`. The last may be shorter, as in the waveform."""
    top_hertz: float
    """Of the highest bin."""


def look_over(audio: Path) -> Overview:
    """Read a clip.

    Raises:
        UserError: it is not readable audio, is empty, or is too large.
    """
    waveform, spectrum = Columns(np.maximum), Columns(np.add)
    with open_clip(audio) as clip:
        windows = _Windows(clip.rate, spectrum)
        for samples in clip:
            waveform.add(np.stack([samples, -samples], axis=1))
            windows.add(samples)
        windows.finish()
    peaks, power = waveform.result(), spectrum.result()
    in_column = np.minimum(spectrum.each, spectrum.rows - spectrum.each * np.arange(len(power)))
    return Overview(
        seconds=waveform.rows / clip.rate,
        low=-peaks[:, 1],
        high=peaks[:, 0],
        column_seconds=waveform.each / clip.rate,
        power=power / in_column[:, np.newaxis],
        spectrum_seconds=spectrum.each * windows.hop / clip.rate,
        top_hertz=clip.rate / 2,
    )


class _Windows:
    """Cuts samples into overlapping windows, the first around time 0, and adds their spectra to columns.

    Args:
        rate: sample rate in Hz.
        columns: take the spectra.
    """

    def __init__(self, rate: int, columns: Columns) -> None:
        size = 1 << round(np.log2(WINDOW_SECONDS * rate))
        self._window = np.hanning(size)
        self._density = rate * (self._window**2).sum()
        self._columns = columns
        self.hop = size // 4
        self._rest: Float64 = np.zeros((size - self.hop) // 2)

    def add(self, samples: Float64) -> None:
        size, pending = len(self._window), np.concatenate([self._rest, samples])
        if len(pending) >= size:
            windows = np.lib.stride_tricks.sliding_window_view(pending, size)[:: self.hop]
            for first in range(0, len(windows), WINDOWS_TOGETHER):
                self._add_windows(windows[first : first + WINDOWS_TOGETHER])
            pending = pending[len(windows) * self.hop :]
        self._rest = pending

    def finish(self) -> None:
        """Take what is left, with silence after it."""
        size = len(self._window)
        after = size - self.hop - (size - self.hop) // 2
        self.add(np.zeros(after if self._columns.rows else max(after, size - len(self._rest))))

    def _add_windows(self, windows: Float64) -> None:
        power = np.abs(np.fft.rfft(windows * self._window)) ** 2
        power[:, 1:-1] *= 2
        self._columns.add(power / self._density)
