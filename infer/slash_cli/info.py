"""`slash info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import duration, optional_packages, stdout, table
from slash_cli.next_step import say_export, say_generate, say_resume
from slash_infer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slash_infer.bundle import Ancestor, Manifest


def info(path: Annotated[Path, typer.Argument(metavar="PATH", help="A corpus, a run or a bundle.")]) -> None:
    """Show what a corpus, a run or a bundle holds.

    \b
    slash info corpus
    """
    if (path / "corpus.json").exists():
        _corpus(path)
    elif (path / "run.json").exists():
        _run(path)
    elif (path / "manifest.json").exists():
        from slash_infer.bundle import Bundle

        print_bundle(path, Bundle(path).manifest)
        say_generate(path)
    else:
        from slash_infer.files import check_exists

        check_exists(path, ["corpus.json", "run.json", "manifest.json"])
        raise UserError(path, "is not a corpus, a run or a bundle", "give a folder that slash made")


def _corpus(path: Path) -> None:
    with optional_packages("info"):
        from slash_train.corpus import Corpus
    from slash_cli.prepare import print_corpus, say_train

    manifest = Corpus(path).manifest
    print_corpus(path, manifest)
    rows = table("recordings", "name", "split", "length", "rate", "peak", "clipped", "silent")
    for recording in manifest.recordings:
        splits = "+".join(dict.fromkeys(region.split for region in recording.regions))
        rows.add_row(
            recording.name,
            splits,
            duration(recording.length / manifest.sample_rate),
            str(recording.source_rate),
            f"{recording.peak:.3f}",
            str(recording.clipped),
            duration(recording.silent_seconds),
        )
    stdout().print(rows)
    for recording in manifest.recordings:
        if recording.remarks:
            stdout().print(f"{recording.name}: {'; '.join(recording.remarks)}")
    for left_out in manifest.left_out:
        stdout().print(f"{left_out.name}: left out: {left_out.why}")
    say_train(path, manifest)


def _run(path: Path) -> None:
    with optional_packages("info"):
        from slash_train.run import Run
    run = Run(path)
    rows = table(f"{path}: preset {run.preset_name}", "setting", "value")
    for section, settings in run.preset.model_dump(mode="json").items():
        for name, value in settings.items():
            rows.add_row(f"{section}.{name}", str(value))
    stdout().print(rows)
    _print_ancestors(run.metadata.ancestors)
    metrics = list(run.metrics())
    if metrics:
        last = metrics[-1]
        stdout().print(f"{last.step} steps, {last.samples:,} samples, {duration(last.seconds)}")
    else:
        stdout().print("no step has been logged yet")
    scored = [m for m in metrics if m.valid_bits is not None]
    if scored:
        best = min(scored, key=lambda m: m.valid_bits or 0.0)
        stdout().print(f"best {best.valid_bits:.3f} bits/sample on the validation split, at step {best.step}")
    if run.checkpoints.is_empty():
        say_resume(run.corpus_path, path)
    else:
        say_export(path)


def _print_ancestors(ancestors: "Sequence[Ancestor]") -> None:
    for one in ancestors:
        stdout().print(
            f"which began with preset {one.preset} at step {one.step}, from a corpus of {duration(one.seconds)} "
            f"in {one.recordings} recording{'s' * (one.recordings != 1)}"
        )


def print_bundle(path: Path, manifest: "Manifest") -> None:
    """Print what a bundle holds and how it was checked."""
    codec, source = manifest.codec, manifest.provenance
    title = f"{path}: {manifest.sample_rate} Hz, {codec.kind} {codec.levels}, width {manifest.width}"
    rows = table(title, "graph", "samples per call", "size")
    for variant in manifest.variants:
        for tier, graph in reversed(list(zip(manifest.frame_tiers, variant.frame_tiers, strict=True))):
            rows.add_row(graph.file, str(tier.hop), f"{graph.bytes / 1e6:.1f} MB")
        hop, graph = manifest.frame_tiers[0].hop, variant.sample_tier
        rows.add_row(graph.file, str(hop), f"{graph.bytes / 1e6:.1f} MB")
    stdout().print(rows)
    bits = "" if source.valid_bits is None else f", {source.valid_bits:.3f} bits/sample on held-out recordings"
    stdout().print(f"from preset {source.preset} at step {source.step}{bits}")
    _print_ancestors(source.ancestors)
    if manifest.recorded is not None:
        stdout().print(
            f"half of the recordings that it has learned from surprise it by less than "
            f"{manifest.recorded.surprise:.2f} bits/sample, and half have a harmonicity under "
            f"{manifest.recorded.harmonicity:.2f}; "
            f"within a second, the surprise varies by {manifest.recorded.variation:.2f} or more"
        )
    if manifest.parity:
        stdout().print(
            f"{'' if manifest.variants[0].precision == 'fp32' else 'fp32, which is left out, '}"
            f"checked against PyTorch: {manifest.parity.samples:,} identical codes, "
            f"logits within {manifest.parity.max_logit_difference:.1e}"
        )
    for variant in manifest.variants:
        if variant.fidelity is not None:
            fidelity = variant.fidelity
            where = ", computed in fp32 on the CPU: only the weights are fp16" if variant.precision == "fp16" else ""
            stdout().print(
                f"{variant.precision} against fp32, {fidelity.samples / manifest.sample_rate:.0f} s of "
                f"{fidelity.excerpt} audio{where}: {fidelity.loss:+.4f} bits/sample, "
                f"mean KL {fidelity.mean_kl:.1e} nats, logits within {fidelity.max_logit_difference:.1e}"
            )
