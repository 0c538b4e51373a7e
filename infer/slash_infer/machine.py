"""Describes the machine and package versions that a measurement was made with."""

import math
import os
import platform
import resource
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = (
    *("slash-audio", "numpy", "onnxruntime", "onnxruntime-gpu", "torch"),
    *("tensorrt", "tensorrt-rtx", "cuda-core", "cuda-bindings"),
)


@dataclass(frozen=True)
class Machine:
    """A machine and the software on it."""

    processor: str
    cores: int
    """Cores that this process may use."""
    system: str
    python: str
    versions: dict[str, str]
    """Versions of the installed packages that matter to speed, by name."""


def describe_machine() -> Machine:
    """Return a description of this machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        system=platform.platform(),
        python=platform.python_version(),
        versions=versions,
    )


def open_files() -> float:
    """Return how many files this process may have open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def raise_open_files() -> None:
    """Let this process have as many files open at once as it may allow itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
