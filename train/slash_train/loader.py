"""Reads the next windows in a background thread while the current step computes."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from slash_train.streams import Draw, TrainingStream

PREFETCHED = 2  # windows read ahead


@dataclass(frozen=True)
class Batch:
    """The input of one step on the training device, for the B lanes of this process."""

    codes: Tensor
    """int64 [B, top + T], as in `Window`."""
    targets: Tensor
    """int64 [B, T]."""
    starting: Tensor
    """bool [B]."""
    draw: Draw
    """What the stream handed out: the same window on the host, and where the stream goes on."""


class Loader:
    """Yields the windows of a stream as tensors, in order. Copies to a GPU overlap with its computation.

    Args:
        stream: the stream to read. From now on only the loader's thread may read it.
        device: the device for the tensors.
    """

    def __init__(self, stream: TrainingStream, device: torch.device) -> None:
        self._stream = stream
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._ready: deque[Future[Batch]] = deque(self._thread.submit(self._read) for _ in range(PREFETCHED))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=True)

    def next(self) -> Batch:
        """Return the next batch; wait for it if it is not ready."""
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
