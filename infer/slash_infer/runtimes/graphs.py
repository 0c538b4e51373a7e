"""The graphs of a bundle in one precision, opened on a runtime."""

from dataclasses import dataclass
from typing import Any

from slash_infer.bundle import Bundle, FileEntry, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.protocol import Graph, GraphRuntime
from slash_infer.runtimes.signature import Signature, frame_tier_signature, sample_tier_signature


@dataclass(frozen=True)
class Graphs:
    """One graph per tier."""

    frame_tiers: list[Graph[Any]]
    """The lowest first."""
    sample_tier: Graph[Any]


def open_graphs(bundle: Bundle, runtime: GraphRuntime[Any], precision: Precision) -> Graphs:
    """Open the graphs, from the bytes that the bundle has verified, and compare their signatures with the manifest.

    Raises:
        UserError: the bundle has no such precision, the runtime rejects a graph, or a signature differs.
    """
    manifest, variant = bundle.manifest, bundle.variant(precision)

    def opened(entry: FileEntry, signature: Signature) -> Graph[Any]:
        path = bundle.path / entry.file
        graph = runtime.load(bundle.read(entry), str(path), manifest.width)
        fault = signature.fault(graph)
        if fault is not None:
            raise UserError(path, f"does not fit the manifest ({fault})", "export the bundle again")
        return graph

    frame_tiers = [opened(entry, frame_tier_signature(manifest, k)) for k, entry in enumerate(variant.frame_tiers, 1)]
    return Graphs(frame_tiers, opened(variant.sample_tier, sample_tier_signature(manifest)))
