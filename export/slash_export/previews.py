"""Lets a run be heard as it goes: the same clips at every checkpoint, as files and in TensorBoard."""

from pathlib import Path

import numpy as np
import soundfile
from matplotlib import image
from torch.utils.tensorboard import SummaryWriter

from slash_export.rendering import render_model
from slash_infer.audio.spectrogram import draw_spectrogram
from slash_infer.clips.render import ClipSpec, RenderOptions
from slash_infer.files import atomic_directory
from slash_train.config import Preset
from slash_train.model import SampleRNN

SEED = 0


def listen(model: SampleRNN, preset: Preset, step: int, out: Path, board: SummaryWriter) -> None:
    """Generate clips 0, 1, ... of seed 0 from `model`, with their spectrograms.

    The model is exported and generates on ONNX Runtime, as it will when it is finished.

    Args:
        model: as it is at `step`.
        preset: says how many clips and how long; none at all when that is 0.
        step: names the moment in TensorBoard.
        out: the folder to make, in place of what stands there.
        board: TensorBoard's.
    """
    recipe = preset.training
    if not recipe.preview_clips:
        return
    with atomic_directory(out) as folder:
        specs = [ClipSpec(folder / f"clip-{i}.wav", i) for i in range(recipe.preview_clips)]
        render_model(model, preset, "in training", step, None, specs, RenderOptions(recipe.preview_seconds, SEED))
        for wav in (spec.file for spec in specs):
            png = wav.with_suffix(".png")
            draw_spectrogram(wav, png, f"{wav.stem} at step {step}")
            samples, rate = soundfile.read(wav, dtype="float32")
            board.add_audio(wav.stem, samples[np.newaxis], step, sample_rate=rate)
            board.add_image(f"{wav.stem}/spectrogram", image.imread(png), step, dataformats="HWC")
