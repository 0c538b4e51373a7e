"""Draws an audio file: waveform above, spectrogram below, in seconds and kHz."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from slash_infer.audio.overview import Overview, look_over
from slash_infer.errors import printable
from slash_infer.files import atomic_file

FLOOR_DB = -100  # of full scale: the darkest colour
CARD_PIXELS = (900, 360)
CARD_DPI = 200
ON_LIGHT_AND_DARK = "#7d7a85"  # grey that is legible on both
WAVE_ON_LIGHT_AND_DARK = "#d0466f"
LINK_PIXELS = (1200, 630)
LINK_DPI = 100
LINK_SIZES = (40, 32, 26, 20)  # of its title, in points
LINK_TITLE_WIDTH = 0.92  # of the picture, at most


def draw_spectrogram(audio: Path, png: Path, title: str) -> None:
    """Read the file `audio` and write its picture to `png`.

    Raises:
        UserError: it is not readable audio, is empty, or is too large.
    """
    clip = look_over(audio)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    _draw_envelope(wave, clip, "C0")
    wave.set(ylim=(-1, 1), ylabel="amplitude", title=title)
    image = _draw_spectrum(spectrum, clip)
    spectrum.set(ylabel="kHz", xlabel="seconds")
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    figure.colorbar(image, ax=spectrum, label="dB", pad=0.01)
    with atomic_file(png, force=True) as part:
        figure.savefig(part, format="png", dpi=100)


def draw_card(audio: Path, webp: Path) -> None:
    """Read the file `audio` and write a small picture of it to `webp`, for light and dark web pages.

    All such pictures have the same size and margins, to be compared one below the other.

    Raises:
        UserError: it is not readable audio, is empty, or is too large.
    """
    clip = look_over(audio)
    figure = Figure(figsize=(CARD_PIXELS[0] / CARD_DPI, CARD_PIXELS[1] / CARD_DPI))
    margins = {"left": 0.12, "right": 1, "top": 1, "bottom": 0.14, "hspace": 0.03}
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3), gridspec_kw=margins)
    _draw_envelope(wave, clip, WAVE_ON_LIGHT_AND_DARK)
    wave.set(ylim=(-1, 1))
    wave.set_axis_off()
    _draw_spectrum(spectrum, clip)
    spectrum.spines[:].set_visible(False)
    spectrum.tick_params(length=0, pad=3, labelsize=9, labelcolor=ON_LIGHT_AND_DARK)
    spectrum.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    spectrum.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    spectrum.yaxis.set_major_locator(MaxNLocator(3, prune="lower"))
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g} kHz")
    with atomic_file(webp, force=True) as part:
        figure.savefig(part, format="webp", dpi=CARD_DPI, transparent=True, pil_kwargs={"quality": 80})


def draw_link(audio: Path, png: Path, title: str) -> None:
    """Read the file `audio` and write the picture that is shown beside a link to a page with it: a title above it.

    Raises:
        UserError: it is not readable audio, is empty, or is too large.
    """
    clip = look_over(audio)
    figure = Figure(figsize=(LINK_PIXELS[0] / LINK_DPI, LINK_PIXELS[1] / LINK_DPI), facecolor="#131117")
    margins = {"left": 0, "right": 1, "top": 0.8, "bottom": 0, "hspace": 0}
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3), gridspec_kw=margins)
    _draw_envelope(wave, clip, WAVE_ON_LIGHT_AND_DARK)
    wave.set(ylim=(-1, 1))
    _draw_spectrum(spectrum, clip)
    for axes in (wave, spectrum):
        axes.set_axis_off()
    with atomic_file(png, force=True) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that matplotlib's font does not have
        _write_title(figure, printable(title.encode(errors="replace").decode()))
        figure.savefig(part, format="png", dpi=LINK_DPI)


def _write_title(figure: Figure, title: str) -> None:
    """Write a title in the largest size that fits, or as much of it as fits in the smallest."""
    written = figure.text(0.04, 0.9, title, color="#ece9f0", family="serif", va="center", parse_math=False)
    smaller = iter(LINK_SIZES)
    written.set_fontsize(next(smaller))
    while title and written.get_window_extent().width > LINK_TITLE_WIDTH * LINK_PIXELS[0]:
        size = next(smaller, None)
        if size is not None:
            written.set_fontsize(size)
        else:
            title = title[: len(title) * 9 // 10]
            written.set_text(f"{title}...")


def _draw_envelope(axes: Axes, clip: Overview, colour: str) -> None:
    """Draw the waveform as the range of the samples in each column."""
    starts = np.arange(len(clip.low)) * clip.column_seconds
    axes.fill_between(starts, clip.low, clip.high, color=colour, linewidth=0.3)


def _draw_spectrum(axes: Axes, clip: Overview) -> AxesImage:
    """Draw the spectrogram."""
    with np.errstate(divide="ignore"):  # digital silence is -inf dB, drawn as the floor
        decibels = 10 * np.log10(clip.power.T)
    image = axes.imshow(
        decibels,
        extent=(0, clip.power.shape[0] * clip.spectrum_seconds, 0, clip.top_hertz),
        aspect="auto",
        origin="lower",
        cmap="magma",
        vmin=FLOOR_DB,
        vmax=-20,
    )
    axes.set(xlim=(0, clip.seconds))
    return image
