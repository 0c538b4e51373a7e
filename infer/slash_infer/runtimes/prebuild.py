"""Builds a bundle's TensorRT plans into the user's cache, before anything generates."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slash_infer.bundle import Bundle
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.plan_cache import Batches, PlanCache
from slash_infer.runtimes.protocol import Unavailable, cuda_packages
from slash_infer.runtimes.tensorrt_compiler import BATCHES, PLAN_PRECISIONS, TARGETS, Compiler


@dataclass(frozen=True)
class Built:
    """A plan in the cache."""

    graph: str
    """The graph's file name."""
    graph_bytes: int
    batches: Batches
    plan: Path
    plan_bytes: int
    seconds: float
    """How long it took to build; 0 if it was in the cache already."""


@dataclass(frozen=True)
class Builder:
    """TensorRT, and the GPU to build for."""

    compiler: Compiler
    gpu: tuple[str, str, str]
    """Name, compute capability and driver version; name and driver are `any` for plans built ahead of time."""
    target: str | None
    """The compute capability to build for; None for the GPU in this machine."""


def make_builder(target: str | None = None) -> Builder:
    """Find TensorRT and the GPU to build for.

    Args:
        target: a compute capability to build for ahead of time, one of TARGETS; None for the GPU in this machine.

    Raises:
        UserError: the target is unknown, TensorRT is not installed, or there is no GPU to build for.
    """
    if target is not None and target not in TARGETS:
        raise UserError(
            Argument("target", target), f"must be one of {', '.join(TARGETS)}, a GPU's compute capability"
        )
    try:
        compiler = Compiler()
        if target is not None and not compiler.builds_for_others:
            raise UserError(
                Argument("target"), "tensorrt builds for the GPU at hand alone", "install tensorrt-rtx in its place"
            )
        return Builder(compiler, _gpu_here() if target is None else ("any", target, "any"), target)
    except Unavailable as reason:
        remedy = (
            None if target else f"for another machine's GPU, run slash build with `target` {' or '.join(TARGETS)}"
        )
        raise UserError("no plan can be built", f"{reason}", remedy) from None


def build_plans(bundle: Bundle, builder: Builder, ranges: Sequence[Batches] = BATCHES) -> Iterator[Built]:
    """Build every plan of a bundle that the cache lacks.

    Args:
        bundle: holds the graphs.
        builder: from `make_builder`.
        ranges: of clips side by side, of BATCHES: a graph has a plan for each.

    Yields:
        each plan when it is in the cache.

    Raises:
        UserError: TensorRT does not support a graph.
    """
    cache = PlanCache()
    for variant in bundle.manifest.variants:
        if variant.precision not in PLAN_PRECISIONS:
            continue
        for graph in variant.files():
            content, name = bundle.read(graph), str(bundle.path / graph.file)
            for batches in ranges:
                key = builder.compiler.key(content, batches, *builder.gpu)
                build = partial(builder.compiler.build, content, name, batches, builder.target)
                start = time.perf_counter()
                plan, is_new = cache.find_or_build([key], build)
                seconds = time.perf_counter() - start if is_new else 0.0
                yield Built(graph.file, graph.bytes, batches, cache.path_of(key), len(plan), seconds)


def _gpu_here() -> tuple[str, str, str]:
    """Return the name, compute capability and driver version of the GPU in this machine."""
    with cuda_packages("tensorrt"):
        from slash_infer.runtimes.gpu import gpu_identity

    return gpu_identity()
