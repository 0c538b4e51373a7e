"""Draws ten seconds of a clip above ten seconds of a recording, as spectrograms.

python benchmarks/beside.py docs/samples/box.flac solos/solo-03.flac --start 20 --out docs/samples/box.png
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from matplotlib.figure import Figure

SECONDS = 10.0
QUIET_DB, LOUD_DB = -110.0, -30.0  # per Hz: black and the brightest colour


def main(
    clip: Annotated[Path, typer.Argument(help="What was generated.")],
    recording: Annotated[Path, typer.Argument(help="What it is compared with.")],
    out: Annotated[Path, typer.Option(help="The picture, a PNG.")],
    start: Annotated[float, typer.Option(help="Where in the recording to begin, in seconds.")] = 0.0,
) -> None:
    """Draw both at the clip's scale of colours."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, title, path, first in zip(
        panels, ("generated", "recorded"), (clip, recording), (0.0, start), strict=True
    ):
        rate = soundfile.info(path).samplerate
        samples, _ = soundfile.read(path, round(SECONDS * rate), round(first * rate), dtype="float64", always_2d=True)
        mono = samples.mean(axis=1)
        with np.errstate(divide="ignore"):  # digital silence has no decibels
            axes.specgram(mono, NFFT=1024, Fs=rate, noverlap=768, cmap="magma", vmin=QUIET_DB, vmax=LOUD_DB)
        axes.set(title=title, ylabel="kHz", ylim=(0, rate / 2), xlim=(0, SECONDS))
        axes.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    panels[-1].set(xlabel="seconds")
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    typer.run(main)
