"""Chooses the device to train on, and explains its limits in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from slash_infer.errors import Argument, UserError

CPU_INFO = Path("/proc/cpuinfo")


def choose_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; `auto` is a GPU if there is one.

    Under torchrun, each process on a machine gets the GPU of its local rank.

    Raises:
        UserError: the device is not available, or several processes would share it.
    """
    asked, chosen = name, name
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    if "LOCAL_RANK" in os.environ and chosen.startswith("cuda"):
        if chosen != "cuda" and os.environ.get("LOCAL_WORLD_SIZE") != "1":
            raise UserError(Argument("device", asked), "would put every process on one GPU", "use cuda")
        chosen = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(chosen)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda devices train")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(Argument("device", asked), f"cannot be used ({reason})", "use cpu or auto") from None
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for products in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        words = CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words


@contextmanager
def limits_explained() -> Iterator[None]:
    """Turn failures in the body that are limits of the machine into a `UserError` that says how to avoid them.

    These are: too little memory, on the host or the GPU, and a model that torch.compile cannot compile.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(error) from None
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(Argument("compile_model"), f"failed ({reason})", "leave it out") from None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # the words of PyTorch's CPU allocator
            raise
        raise _out_of_memory(error) from None


def _out_of_memory(error: BaseException) -> UserError:
    reason = (str(error).strip() or "no memory").splitlines()[0]
    remedy = "lower training.batch_size, training.window or model.width"
    return UserError(None, f"out of memory ({reason})", remedy)
