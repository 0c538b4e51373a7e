"""A bundle's model as graphs on a runtime."""

from typing import Any

from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.runtimes.batch_runner import BatchRunner
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.graphs import open_graphs
from slash_infer.runtimes.protocol import GraphRuntime, Model


class GraphModel(Model):
    """The graphs of one precision, opened on a runtime.

    Args:
        bundle: whose graphs to run.
        runtime: where to run them.
        precision: of the graphs.

    Raises:
        UserError: the bundle has no such precision, the runtime rejects a graph, or a signature differs.
    """

    def __init__(self, bundle: Bundle, runtime: GraphRuntime[Any], precision: Precision) -> None:
        self.runtime, self.graphs = runtime, open_graphs(bundle, runtime, precision)
        self._manifest = bundle.manifest

    @override
    def most_clips(self, clips: int) -> int:
        return clips

    @override
    def runner(self, state: GenerationState) -> BatchRunner:
        return BatchRunner(self.runtime, self._manifest, self.graphs, state)
