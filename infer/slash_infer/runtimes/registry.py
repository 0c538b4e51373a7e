"""The runtimes by name, and which of them work on this machine."""

from collections.abc import Callable, Iterator
from typing import get_args

from slash_infer.arguments import check_choice
from slash_infer.choices import EngineName
from slash_infer.errors import Argument, UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.protocol import Runtime, Unavailable, cuda_packages

BY_NAME_ALONE = "compiled"
"""Not measured yet on processors with wider vectors and with products of 8-bit integers."""


def find_runtimes(*, without: str | None = None) -> Iterator[tuple[str, Runtime | Unavailable]]:
    """Yield the name of every runtime, in order, with the runtime, or with the reason why it is unavailable.

    A runtime is started when it is its turn.

    Args:
        without: a runtime to leave out.
    """
    for name, make in RUNTIMES.items():
        if name == without:
            continue
        try:
            found: Runtime | Unavailable = make()
        except Unavailable as reason:
            found = reason
        except UserError as reason:  # its cache, or the GPU: another runtime may work all the same
            found = Unavailable(str(reason))
        yield name, found


def check_engine_name(name: object) -> None:
    """Raise `UserError` if an argument is neither `auto` nor the name of a runtime."""
    check_choice("engine", name, get_args(EngineName))


def runtime_named(name: str) -> Runtime:
    """Return the runtime of that name, one of `RUNTIMES`.

    Raises:
        UserError: there is none of that name, or it is unavailable; the message says why and what would help.
    """
    check_choice("engine", name, tuple(RUNTIMES))
    try:
        return RUNTIMES[name]()
    except Unavailable as reason:
        raise UserError(Argument("engine", name), f"{reason}", "`engine` cpu works everywhere") from None


def _cluster() -> Runtime:
    with cuda_packages("cluster"):
        from slash_infer.runtimes.cluster_gpu import ClusterGpu
    from slash_infer.runtimes.cluster_runtime import Cluster

    return Cluster(ClusterGpu())


def _tensorrt() -> Runtime:
    with cuda_packages("tensorrt"):
        from slash_infer.runtimes.tensorrt_runtime import TensorRt

    return TensorRt()


def _cuda() -> Runtime:
    with cuda_packages("gpu"):
        from slash_infer.runtimes.onnx_cuda import OnnxCuda

    return OnnxCuda()


def _compiled() -> Runtime:
    from slash_infer.runtimes.compiled_runtime import Compiled

    return Compiled()


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "cluster": _cluster,
    "tensorrt": _tensorrt,
    "cuda": _cuda,
    "compiled": _compiled,
    "cpu": OnnxCpu,
}
"""Makes each runtime, or raises `Unavailable`; in the order that `auto` tries them in."""
