"""Exports a checkpoint as a bundle: folds the model, writes graphs and manifest, and checks them against PyTorch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch

from slash_export.errors import ParityError
from slash_export.fidelity import check_fidelity, measure_fidelity, take_excerpt
from slash_export.folding import FoldedFrameTier, FoldedSampleTier, fold
from slash_export.graphs import drawing_graph, frame_tier_graph, sample_tier_graph
from slash_export.parity import check_parity
from slash_export.recordings import corpus_of, write_recordings
from slash_export.verify import Refusal, verify
from slash_infer import __version__
from slash_infer.bundle import (
    MADE_BY,
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    FileEntry,
    FrameTierEntry,
    Manifest,
    Precision,
    Provenance,
    SampleTierEntry,
    Variant,
    describe_file,
)
from slash_infer.errors import Argument, UserError
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_infer.runtimes.protocol import Unavailable
from slash_infer.runtimes.registry import BY_NAME_ALONE, find_runtimes
from slash_train.corpus import Corpus
from slash_train.recorded import measure_recorded
from slash_train.run import Run
from slash_train.trained_model import TrainedModel


def export(
    run: Run,
    out: Path,
    *,
    checkpoint: str = "best",
    precisions: Sequence[Precision] = (),
    accept_loss: bool = False,
    without_fp32: bool = False,
    force: bool = False,
) -> Manifest:
    """Make the bundle `out` from a checkpoint of a run. It appears complete and checked, or not at all.

    Args:
        run: the training run.
        out: the directory to make.
        checkpoint: `best`, `last`, or the path of a checkpoint.
        precisions: further precisions besides fp32, each compared with fp32.
        accept_loss: keep a precision however much it loses.
        without_fp32: leave fp32 out after everything has been compared with it, which makes a small bundle.
        force: replace an existing bundle at `out`.

    Returns:
        the manifest.

    Raises:
        UserError: there is no such checkpoint, `out` exists, a precision loses too much, or nothing would be left
            without fp32.
        ParityError: the graphs do not compute what the model computes.
    """
    check_directory_output(out, force=force, metadata=MANIFEST, made_by=MADE_BY, inputs=[run.path])
    if without_fp32 and set(precisions) <= {"fp32"}:
        raise UserError(Argument("without_fp32"), "leaves nothing", "add a `precision`: int8 or fp16")
    trained, corpus = run.load_model(checkpoint), corpus_of(run)
    with atomic_directory(out, force=force, metadata=MANIFEST, made_by=MADE_BY) as folder:
        write_unchecked(folder, trained, precisions, corpus)
        bundle = Bundle(folder)
        parity = check_parity(bundle, trained.model)
        variants = _compared(bundle, corpus, accept_loss=accept_loss)
        recordings = write_recordings(folder, corpus)
        measured = {"parity": parity, "variants": variants, "recordings": recordings}
        manifest = Manifest(**{**dict(bundle.manifest), **measured})
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
        _verify(Bundle(folder), accept_loss=accept_loss)
        if without_fp32:
            manifest = _leave_out_fp32(folder, manifest)
    return manifest


def write_unchecked(
    folder: Path, trained: TrainedModel, precisions: Sequence[Precision] = (), corpus: Corpus | None = None
) -> None:
    """Write a model's graphs and their manifest into an existing folder, without comparing them with the model.

    Args:
        folder: the folder to write to.
        trained: the model, on any device; it is not changed.
        precisions: further precisions besides fp32.
        corpus: what it has learned from, if that is at hand.
    """
    codec = trained.preset.audio.codec
    frame_tiers, sample_tier = fold(trained.model)
    wanted = dict.fromkeys(("fp32", *precisions))  # without duplicates, in order
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sample_rate=trained.preset.audio.sample_rate,
        codec=codec,
        width=trained.preset.model.width,
        frame_tiers=tuple(_describe_frame_tier(folder, tier, k) for k, tier in enumerate(frame_tiers, 1)),
        sample_tier=SampleTierEntry(history=0 if sample_tier is None else len(sample_tier.table)),
        variants=tuple(_write_variant(folder, frame_tiers, sample_tier, codec.levels, p) for p in wanted),
        parity=None,
        recorded=corpus and measure_recorded(trained.model, trained.preset, corpus),
        provenance=Provenance(
            slash_version=__version__,
            torch_version=torch.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            preset=trained.preset_name,
            step=trained.step,
            valid_bits=trained.valid_bits,
            ancestors=trained.ancestors,
        ),
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _compared(bundle: Bundle, corpus: Corpus | None, *, accept_loss: bool) -> tuple[Variant, ...]:
    """Return the variants with their fidelity to fp32 filled in."""
    exact, *others = bundle.manifest.variants
    if not others:
        return (exact,)
    excerpt = take_excerpt(bundle, corpus)
    compared = [exact]
    for variant in others:
        fidelity, standard_error = measure_fidelity(bundle, variant.precision, excerpt)
        if not accept_loss:
            check_fidelity(variant.precision, fidelity, standard_error)
        compared.append(Variant(**{**dict(variant), "fidelity": fidelity}))
    return tuple(compared)


def _leave_out_fp32(folder: Path, manifest: Manifest) -> Manifest:
    """Take the fp32 graphs out of a bundle; return the new manifest."""
    left = tuple(variant for variant in manifest.variants if variant.precision != "fp32")
    smaller = Manifest(**{**dict(manifest), "variants": left})
    write_json(folder / MANIFEST, smaller.model_dump(mode="json"))
    for entry in manifest.files():
        if entry not in smaller.files():
            (folder / entry.file).unlink()
    return smaller


def _verify(bundle: Bundle, *, accept_loss: bool) -> None:
    """Check every variant on every runtime that `auto` may take here, and that has its precision."""
    found = find_runtimes(without=BY_NAME_ALONE)
    available = [runtime for _, runtime in found if not isinstance(runtime, Unavailable)]
    for verdict in verify(bundle, available):
        if isinstance(verdict, Refusal) or verdict.fault is None:
            continue
        if verdict.precision == "fp32":
            raise ParityError(f"fp32 on the engine {verdict.runtime}", verdict.fault)
        if not accept_loss:
            raise UserError(
                Argument("precision", verdict.precision),
                f"on the engine {verdict.runtime}, {verdict.fault}",
                "leave it out, or pass `accept_loss`",
            )


def _write_variant(
    folder: Path,
    frame_tiers: list[FoldedFrameTier],
    sample_tier: FoldedSampleTier | None,
    levels: int,
    precision: Precision,
) -> Variant:
    suffix = ".onnx" if precision == "fp32" else f".{precision}.onnx"
    graphs = [frame_tier_graph(tier, k, precision) for k, tier in enumerate(frame_tiers, 1)]
    steps = frame_tiers[0].hop
    draws = sample_tier_graph(sample_tier, steps, precision) if sample_tier else drawing_graph(steps, levels)
    return Variant(
        precision=precision,
        frame_tiers=tuple(_write_graph(folder / f"frame_tier_{k}{suffix}", g) for k, g in enumerate(graphs, 1)),
        sample_tier=_write_graph(folder / f"sample_tier{suffix}", draws),
        fidelity=None,
    )


def _describe_frame_tier(folder: Path, tier: FoldedFrameTier, k: int) -> FrameTierEntry:
    initial = folder / f"frame_tier_{k}.initial.npy"
    np.save(initial, tier.initial, allow_pickle=False)
    return FrameTierEntry(
        frame_size=tier.frame_size,
        hop=tier.hop,
        cell=tier.cell,
        upsampling=tier.upsampling,
        layers=len(tier.layers),
        initial_state=describe_file(initial),
    )


def _write_graph(path: Path, graph: onnx.ModelProto) -> FileEntry:
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return describe_file(path)
