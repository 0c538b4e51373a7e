"""Run -> bundle: folds a checkpoint, writes its graphs, checks them against PyTorch, and describes them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch

from slash_export.folding import FoldedFrameTier, fold
from slash_export.graphs import frame_tier_graph, sample_tier_graph
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
    codec = run.preset.audio.codec
    frame_tiers, sample_tier = fold(model)
    progress = source.progress()
    with whole_directory(out) as folder:
        manifest = Manifest(
            schema_version=1,
            sample_rate=run.preset.audio.sample_rate,
            codec=codec,
            width=run.preset.model.width,
            frame_tiers=tuple(
                _write_frame_tier(folder, tier, k, codec.levels) for k, tier in enumerate(frame_tiers, 1)
            ),
            sample_tier=SampleTierEntry(
                history=len(sample_tier.table),
                graph=_write_graph(folder / "sample_tier.onnx", sample_tier_graph(sample_tier)),
            ),
            parity=None,
            provenance=Provenance(
                slash_version=__version__,
                torch_version=torch.__version__,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                preset=run.preset_name,
                step=progress.step,
                valid_bits=progress.valid_bits,
            ),
        )
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
        parity = check_parity(Bundle(folder), model)
        manifest = manifest.model_copy(update={"parity": parity})
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _write_frame_tier(folder: Path, tier: FoldedFrameTier, k: int, levels: int) -> FrameTierEntry:
    initial = folder / f"frame_tier_{k}.initial.npy"
    np.save(initial, np.stack([tier.h0, tier.c0]), allow_pickle=False)
    return FrameTierEntry(
        frame_size=tier.frame_size,
        upsampling=tier.upsampling,
        layers=len(tier.layers),
        graph=_write_graph(folder / f"frame_tier_{k}.onnx", frame_tier_graph(tier, k, levels)),
        initial_state=describe_file(initial),
    )


def _write_graph(path: Path, graph: onnx.ModelProto) -> FileEntry:
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return describe_file(path)
