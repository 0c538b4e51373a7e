"""Describes the device that a benchmark ran on."""

import subprocess
from typing import Any

import torch


def describe_device(kind: str) -> dict[str, Any]:
    """Return the name of the CPU or of the first GPU, of a GPU its compute capability, driver and memory, too."""
    if kind != "cuda":
        return {"name": "cpu"}
    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": driver,
        "cuda_of_torch": torch.version.cuda,
        "bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
    }
