"""Generates clips from a model that is not exported yet, on ONNX Runtime, as it will run after its export."""

from collections.abc import Sequence

from slash_export.bundle_writer import write_unchecked
from slash_infer.bundle import Bundle
from slash_infer.clips.render import Rendered, render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import scratch_directory
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.corpus import Corpus
from slash_train.trained_model import TrainedModel


def render_model(
    trained: TrainedModel, corpus: Corpus | None, specs: Sequence[ClipSpec], options: RenderOptions
) -> Rendered:
    """Render clips with a model's fp32 graphs on the CPU.

    Args:
        trained: the model; it is not changed.
        corpus: what it has learned from, if that is at hand.
        specs: the clips to make.
        options: what they have in common.

    Returns:
        the files and their sidecars.
    """
    with scratch_directory("bundle") as folder:
        write_unchecked(folder, trained, corpus=corpus)
        bundle = Bundle(folder)
        return render(bundle, Engine(bundle, OnnxCpu()), specs, options)
