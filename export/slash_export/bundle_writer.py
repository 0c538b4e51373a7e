"""Run -> bundle: folds a checkpoint, writes its graphs, checks them against PyTorch, and describes them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch

from slash_export.folding import FoldedFrameTier, fold
from slash_export.graphs import drawing_graph, frame_tier_graph, sample_tier_graph
from slash_export.parity import check_parity
from slash_infer import __version__
from slash_infer.bundle import (
    MADE_BY,
    MANIFEST,
    Bundle,
    FileEntry,
    FrameTierEntry,
    Manifest,
    Provenance,
    SampleTierEntry,
    describe_file,
)
from slash_infer.files import check_directory_output, whole_directory, write_json
from slash_train.config import Preset
from slash_train.model import SampleRNN
from slash_train.run import Run


def export(run: Run, out: Path, *, checkpoint: str = "best", force: bool = False) -> Manifest:
    """Make the bundle `out` from a checkpoint of a run. It appears complete and checked, or not at all.

    Args:
        run: the training run.
        out: the directory to make.
        checkpoint: `best`, `last`, or the path of one.
        force: replace a bundle that stands at `out`.

    Returns:
        the manifest.

    Raises:
        UserError: no such checkpoint, or `out` exists.
        ParityError: the graphs do not compute what the model computes.
    """
    check_directory_output(out, force=force, page=MANIFEST, made_by=MADE_BY, inputs=[run.path])
    model, source = run.load_model(checkpoint)
    progress = source.progress()
    with whole_directory(out) as folder:
        write_unchecked(
            folder, model, run.preset, run.preset_name, step=progress.step, valid_bits=progress.valid_bits
        )
        bundle = Bundle(folder)
        manifest = bundle.manifest.model_copy(update={"parity": check_parity(bundle, model)})
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def write_unchecked(
    folder: Path, model: SampleRNN, preset: Preset, preset_name: str, step: int, valid_bits: float | None = None
) -> None:
    """Write a model's graphs and their manifest, not yet compared with the model, into an existing folder.

    Args:
        folder: where to.
        model: on any device; left as it is.
        preset: the configuration the model was made from.
        preset_name: for the provenance, like `step` and `valid_bits`.
        step: optimiser steps behind the model.
        valid_bits: its bits per sample on the validation split, if it was scored.
    """
    codec = preset.audio.codec
    frame_tiers, sample_tier = fold(model)
    draws = sample_tier_graph(sample_tier) if sample_tier else drawing_graph(frame_tiers[0].hop, codec.levels)
    manifest = Manifest(
        schema_version=1,
        sample_rate=preset.audio.sample_rate,
        codec=codec,
        width=preset.model.width,
        frame_tiers=tuple(_write_frame_tier(folder, tier, k, codec.levels) for k, tier in enumerate(frame_tiers, 1)),
        sample_tier=SampleTierEntry(
            history=0 if sample_tier is None else len(sample_tier.table),
            graph=_write_graph(folder / "sample_tier.onnx", draws),
        ),
        parity=None,
        provenance=Provenance(
            slash_version=__version__,
            torch_version=torch.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            preset=preset_name,
            step=step,
            valid_bits=valid_bits,
        ),
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _write_frame_tier(folder: Path, tier: FoldedFrameTier, k: int, levels: int) -> FrameTierEntry:
    initial = folder / f"frame_tier_{k}.initial.npy"
    np.save(initial, tier.initial, allow_pickle=False)
    return FrameTierEntry(
        frame_size=tier.frame_size,
        hop=tier.hop,
        cell=tier.cell,
        upsampling=tier.upsampling,
        layers=len(tier.layers),
        graph=_write_graph(folder / f"frame_tier_{k}.onnx", frame_tier_graph(tier, k, levels)),
        initial_state=describe_file(initial),
    )


def _write_graph(path: Path, graph: onnx.ModelProto) -> FileEntry:
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return describe_file(path)
