"""Draws an audio file: waveform above, spectrogram below, in seconds and kHz."""

from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from slash_infer.errors import UserError
from slash_infer.files import atomic_file

WINDOW_SECONDS = 0.032  # of each Fourier transform: bins are 31 Hz apart at any sample rate
FLOOR_DB = -100  # of full scale: the darkest colour
COLUMNS = 2000  # at most about this many Fourier transforms: more would not be visible
CARD_PIXELS = (900, 360)
CARD_DPI = 200
ON_LIGHT_AND_DARK = "#7d7a85"  # grey that is legible on both
WAVE_ON_LIGHT_AND_DARK = "#d0466f"


def draw_spectrogram(audio: Path, png: Path, title: str) -> None:
    """Read the file `audio` and write its picture to `png`.

    Raises:
        UserError: it is not readable audio, or is empty.
    """
    samples, rate = _read_mono(audio)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    wave.plot(np.arange(len(samples)) / rate, samples, linewidth=0.3)
    wave.set(ylim=(-1, 1), ylabel="amplitude", title=title)
    image = _draw_spectrum(spectrum, samples, rate)
    spectrum.set(ylabel="kHz", xlabel="seconds")
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    figure.colorbar(image, ax=spectrum, label="dB", pad=0.01)
    with atomic_file(png, force=True) as part:
        figure.savefig(part, format="png", dpi=100)


def draw_card(audio: Path, webp: Path) -> None:
    """Read the file `audio` and write a small picture of it to `webp`, for light and dark web pages.

    All such pictures have the same size and margins, to be compared one below the other.

    Raises:
        UserError: it is not readable audio, or is empty.
    """
    samples, rate = _read_mono(audio)
    figure = Figure(figsize=(CARD_PIXELS[0] / CARD_DPI, CARD_PIXELS[1] / CARD_DPI))
    margins = {"left": 0.12, "right": 1, "top": 1, "bottom": 0.14, "hspace": 0.03}
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3), gridspec_kw=margins)
    _draw_envelope(wave, samples, rate)
    wave.set(ylim=(-1, 1))
    wave.set_axis_off()
    _draw_spectrum(spectrum, samples, rate)
    spectrum.spines[:].set_visible(False)
    spectrum.tick_params(length=0, pad=3, labelsize=9, labelcolor=ON_LIGHT_AND_DARK)
    spectrum.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    spectrum.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    spectrum.yaxis.set_major_locator(MaxNLocator(3, prune="lower"))
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g} kHz")
    with atomic_file(webp, force=True) as part:
        figure.savefig(part, format="webp", dpi=CARD_DPI, transparent=True, pil_kwargs={"quality": 80})


def _read_mono(audio: Path) -> tuple[np.ndarray, int]:
    """Return the mean of the channels, float64 [T], and the sample rate in Hz."""
    try:
        with audio.open("rb") as file:
            samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UserError(
            audio, f"is not readable audio ({error.error_string})", "make it again or move it away"
        ) from None
    if not len(samples):
        raise UserError(audio, "holds no audio", "make it again or move it away")
    return samples.mean(axis=1), rate


def _draw_envelope(axes: Axes, samples: np.ndarray, rate: int) -> None:
    """Draw the waveform as the range of the samples in each column of pixels, which stays fast for long files."""
    starts = np.unique(np.linspace(0, len(samples), CARD_PIXELS[0], endpoint=False, dtype=int))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    axes.fill_between(starts / rate, low, high, color=WAVE_ON_LIGHT_AND_DARK, linewidth=0.3)


def _draw_spectrum(axes: Axes, samples: np.ndarray, rate: int) -> AxesImage:
    """Draw the spectrogram."""
    window = min(len(samples), 1 << round(np.log2(WINDOW_SECONDS * rate)))
    hop = min(max(window - window * 3 // 4, len(samples) // COLUMNS), window)
    overlap = window - hop
    padded = np.pad(samples, (overlap // 2, overlap - overlap // 2))  # so that the first column is at time 0
    drawn = len(samples) // hop * hop
    with np.errstate(divide="ignore"):  # digital silence is -inf dB, drawn as the floor
        _, _, _, image = axes.specgram(
            padded,
            NFFT=window,
            Fs=rate,
            noverlap=overlap,
            xextent=(0, drawn / rate),
            cmap="magma",
            vmin=FLOOR_DB,
            vmax=-20,
        )
    axes.set(xlim=(0, len(samples) / rate))
    return image
