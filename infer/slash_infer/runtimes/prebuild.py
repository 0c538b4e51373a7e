"""Builds the TensorRT plans of a bundle into the user's cache."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.runtimes.protocol import Unavailable, cuda_packages
from slash_infer.runtimes.tensorrt_plans import PRECISIONS, TARGETS, Compiler, PlanCache


@dataclass(frozen=True)
class Built:
    """A plan."""

    graph: str
    graph_bytes: int
    plan: Path
    plan_bytes: int
    seconds: float
    """It took to build; 0 for one that was in the cache."""


@dataclass(frozen=True)
class Builder:
    """TensorRT, and the GPU it is to build for."""

    compiler: Compiler
    gpu: tuple[str, str, str]
    """Name, compute capability and driver version; `any` where plans are built ahead of time."""
    target: str | None


def make_builder(target: str | None = None) -> Builder:
    """Find out whether plans can be built.

    Args:
        target: a compute capability, one of TARGETS, for building ahead of time; None for the GPU that is here.

    Raises:
        UserError: there is no TensorRT, or no GPU to build for.
    """
    if target is not None and target not in TARGETS:
        raise UserError(f"`target` {target}", f"must be one of {', '.join(TARGETS)}, a GPU's compute capability")
    try:
        compiler = Compiler()
        if target is not None and not compiler.builds_for_others:
            raise UserError(
                "`target`", "tensorrt builds for the GPU at hand alone", "install tensorrt-rtx in its place"
            )
        return Builder(compiler, _gpu_here() if target is None else ("any", target, "any"), target)
    except Unavailable as reason:
        remedy = "" if target else f"; for another machine's GPU: slash build --target {' or '.join(TARGETS)}"
        raise UserError("no plan can be built", f"{reason}{remedy}") from None


def build_plans(bundle: Bundle, builder: Builder) -> Iterator[Built]:
    """Build every plan of a bundle that is not in the cache yet.

    Args:
        bundle: whose graphs.
        builder: that builds them.

    Yields:
        the plans, as they are done.

    Raises:
        UserError: TensorRT does not support a graph.
    """
    cache = PlanCache()
    for variant in bundle.manifest.variants:
        if variant.precision not in PRECISIONS:
            continue
        for graph in variant.files():
            content, name = bundle.read(graph), str(bundle.path / graph.file)
            key = builder.compiler.key(content, *builder.gpu)
            start = time.perf_counter()
            plan, is_new = cache.find_or_build([key], partial(builder.compiler.build, content, name, builder.target))
            seconds = time.perf_counter() - start if is_new else 0.0
            yield Built(graph.file, graph.bytes, cache.path_of(key), len(plan), seconds)


def _gpu_here() -> tuple[str, str, str]:
    """Return the name, compute capability and driver version that a plan for this machine depends on."""
    with cuda_packages("tensorrt"):
        from slash_infer.runtimes.gpu import Gpu

    return Gpu().identity
