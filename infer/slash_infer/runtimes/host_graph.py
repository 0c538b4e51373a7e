"""Calls a graph with numpy arrays."""

from collections.abc import Mapping
from typing import Any, Generic

import numpy.typing as npt

from slash_infer.runtimes.protocol import A, Graph, GraphRuntime, Launch


class HostGraph(Generic[A]):
    """A graph that takes and returns numpy arrays, for checks and scoring. Arrays on the device are kept by shape.

    Args:
        runtime: the runtime that opened the graph.
        graph: the graph to call.
    """

    def __init__(self, runtime: GraphRuntime[A], graph: Graph[A]) -> None:
        self._runtime, self._graph = runtime, graph
        self._bound: dict[tuple[int, ...], tuple[dict[str, A], dict[str, A], Launch]] = {}

    def __call__(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name. `feed` holds every input by name, all of one batch size."""
        shapes = tuple(size for values in feed.values() for size in values.shape)
        if shapes not in self._bound:
            self._bound[shapes] = self._bind(feed)
        inputs, outputs, launch = self._bound[shapes]
        for name, values in feed.items():
            self._runtime.put(inputs[name], values)
        launch()
        return {name: self._runtime.get(array) for name, array in outputs.items()}

    def _bind(self, feed: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, A], dict[str, A], Launch]:
        batch = next(len(values) for name, values in feed.items() if name not in ("h", "c"))  # states are [L, B, D]
        inputs = {name: self._runtime.array(values.shape, values.dtype) for name, values in feed.items()}
        outputs = {
            name: self._runtime.array([size if isinstance(size, int) else batch for size in shape], dtype)
            for name, (dtype, shape) in self._graph.outputs.items()
        }
        return inputs, outputs, self._graph.bind({**inputs, **outputs})
