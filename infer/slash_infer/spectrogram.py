"""Draws what an audio file sounds like: waveform above, spectrogram below, with axes in seconds and kHz."""

from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure

from slash_infer.files import whole_file

WINDOW_SECONDS = 0.032  # of each Fourier transform: 31 Hz apart at any rate
FLOOR_DB = -100  # darkest colour, relative to full scale


def draw_spectrogram(audio: Path, png: Path, title: str) -> None:
    """Read `audio` and write its picture to `png`."""
    samples, rate = soundfile.read(audio, dtype="float64", always_2d=True)
    mono = samples.mean(axis=1)
    seconds = len(mono) / rate
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    wave.plot(np.arange(len(mono)) / rate, mono, linewidth=0.3)
    wave.set(ylim=(-1, 1), ylabel="amplitude", title=title)
    window = min(len(mono), 1 << round(np.log2(WINDOW_SECONDS * rate)))
    with np.errstate(divide="ignore"):  # digital silence is -inf dB, drawn as the floor
        _, _, _, image = spectrum.specgram(
            mono, NFFT=window, Fs=rate, noverlap=window * 3 // 4, cmap="magma", vmin=FLOOR_DB, vmax=-20
        )
    spectrum.set(ylabel="kHz", xlabel="seconds", xlim=(0, seconds))
    spectrum.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    figure.colorbar(image, ax=spectrum, label="dB", pad=0.01)
    with whole_file(png) as part:
        figure.savefig(part, format="png", dpi=100)
