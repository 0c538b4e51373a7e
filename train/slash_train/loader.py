"""Reads the next windows in a thread of its own while the current step computes."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from slash_train.streams import Draw, TrainingStream

AHEAD = 2  # windows ready before they are asked for


@dataclass(frozen=True)
class Batch:
    """One step's input on the training device."""

    codes: Tensor
    """int64 [B, top + T]."""
    targets: Tensor
    """int64 [B, T]."""
    starting: Tensor
    """bool [B]."""
    draw: Draw


class Loader:
    """Hands out a stream's windows as tensors, in order. The copy to a GPU overlaps with its work.

    Args:
        stream: read by the loader's thread alone from now on.
        device: where the tensors go.
    """

    def __init__(self, stream: TrainingStream, device: torch.device) -> None:
        self._stream = stream
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._ready: deque[Future[Batch]] = deque(self._thread.submit(self._read) for _ in range(AHEAD))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=True)

    def next(self) -> Batch:
        """Return the next window of every lane."""
        batch = self._ready.popleft().result()
        self._ready.append(self._thread.submit(self._read))
        codes, targets, starting = (
            tensor.to(self._device, non_blocking=True) for tensor in (batch.codes, batch.targets, batch.starting)
        )
        return Batch(codes, targets, starting, batch.draw)

    def _read(self) -> Batch:
        draw = self._stream.next()
        window = draw.window
        codes, targets, starting = (
            tensor.pin_memory() if self._device.type == "cuda" else tensor
            for tensor in map(torch.from_numpy, (window.codes, window.targets, window.starting))
        )
        return Batch(codes, targets, starting, draw)
