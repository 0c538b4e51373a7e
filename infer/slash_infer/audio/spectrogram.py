"""Draws what an audio file sounds like: waveform above, spectrogram below, in seconds and kHz."""

from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from slash_infer.errors import UserError
from slash_infer.files import atomic_file

WINDOW_SECONDS = 0.032  # of each Fourier transform: 31 Hz apart at any rate
FLOOR_DB = -100  # darkest colour, relative to full scale
COLUMNS = 2000  # more Fourier transforms than this do not show
CARD_PIXELS = (900, 360)
CARD_DPI = 200
ON_LIGHT_AND_DARK = "#7d7a85"  # grey that is legible on both
WAVE_ON_LIGHT_AND_DARK = "#d0466f"


def draw_spectrogram(audio: Path, png: Path, title: str) -> None:
    """Read `audio` and write its picture to `png`."""
    samples, rate = _read_mono(audio)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    wave.plot(np.arange(len(samples)) / rate, samples, linewidth=0.3)
    wave.set(ylim=(-1, 1), ylabel="amplitude", title=title)
    image = _draw_spectrum(spectrum, samples, rate)
    spectrum.set(ylabel="kHz", xlabel="seconds")
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    figure.colorbar(image, ax=spectrum, label="dB", pad=0.01)
    with atomic_file(png) as part:
        figure.savefig(part, format="png", dpi=100)


def draw_card(audio: Path, webp: Path) -> None:
    """Read `audio` and write a small picture of it to `webp`, for a page that is light or dark.

    Its size and margins never differ, so that pictures can be compared one under the other.
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
    with atomic_file(webp) as part:
        figure.savefig(part, format="webp", dpi=CARD_DPI, transparent=True, pil_kwargs={"quality": 80})


def _read_mono(audio: Path) -> tuple[np.ndarray, int]:
    """Return the mean of the channels, and the sample rate.

    Raises:
        UserError: it is not readable audio, or holds none.
    """
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
    """Draw the range of the samples context every moment: as fast for minutes as for seconds."""
    starts = np.unique(np.linspace(0, len(samples), CARD_PIXELS[0], endpoint=False, dtype=int))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    axes.fill_between(starts / rate, low, high, color=WAVE_ON_LIGHT_AND_DARK, linewidth=0.3)


def _draw_spectrum(axes: Axes, samples: np.ndarray, rate: int) -> AxesImage:
    """Draw the spectrogram over the whole length."""
    window = min(len(samples), 1 << round(np.log2(WINDOW_SECONDS * rate)))
    hop = min(max(window - window * 3 // 4, len(samples) // COLUMNS), window)
    overlap = window - hop
    padded = np.pad(
        samples, (overlap // 2, overlap - overlap // 2)
    )  # a column for every hop, from the first sample on
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
