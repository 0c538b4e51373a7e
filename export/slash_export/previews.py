"""Makes previews of a run in training: the same clips at every checkpoint, as files and in TensorBoard."""

from pathlib import Path

import soundfile
from matplotlib import image

from slash_export.rendering import render_model
from slash_infer.audio.spectrogram import draw_spectrogram
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import atomic_directory
from slash_train.corpus import Corpus
from slash_train.event_file import EventFile
from slash_train.trained_model import TrainedModel

SEED = 0


def make_previews(trained: TrainedModel, corpus: Corpus, out: Path, board: EventFile) -> None:
    """Generate clips 0, 1, ... of seed 0, with their spectrograms.

    The model is exported and runs on ONNX Runtime, as it will after training.

    Args:
        trained: the model. Its preset says how many clips to make, possibly none, and of what length.
        corpus: what it learns from.
        out: the folder to make, replacing what exists there.
        board: where TensorBoard's copies go.
    """
    recipe = trained.preset.training
    if not recipe.preview_clips:
        return
    with atomic_directory(out, force=True) as folder:
        specs = [ClipSpec(folder / f"clip-{i}.wav", i) for i in range(recipe.preview_clips)]
        render_model(trained, corpus, specs, RenderOptions(recipe.preview_seconds, SEED))
        for wav in (spec.file for spec in specs):
            png = wav.with_suffix(".png")
            draw_spectrogram(wav, png, f"{wav.stem} at step {trained.step}")
            samples, rate = soundfile.read(wav, dtype="float32")
            board.add_audio(wav.stem, samples, trained.step, rate)
            board.add_image(f"{wav.stem}/spectrogram", image.imread(png), trained.step)
