"""Generates clips from a model that is not exported yet, on ONNX Runtime, as it will when it is."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import Bundle
from slash_infer.clips.render import ClipSpec, Rendered, RenderOptions, render
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.config import Preset
from slash_train.model import SampleRNN


def render_model(
    model: SampleRNN,
    preset: Preset,
    preset_name: str,
    step: int,
    valid_bits: float | None,
    specs: Sequence[ClipSpec],
    options: RenderOptions,
) -> Rendered:
    """Render specs from a model's fp32 graphs on the CPU; the first five arguments are `write_unchecked`'s."""
    with tempfile.TemporaryDirectory() as folder:
        write_unchecked(Path(folder), model, preset, preset_name, step, valid_bits)
        bundle = Bundle(folder)
        return render(bundle, Engine(bundle, OnnxCpu()), specs, options)
