"""TensorBoard's file of events. A run goes on where it cannot be written.

PyTorch's `SummaryWriter` writes from a thread, which a full disk ends with a traceback, and raises from then on.
"""

import io
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch.utils.tensorboard import summary

from slash_train.append import append


class EventFile:
    """A new file of events in TensorBoard's format.

    Args:
        folder: where to make it; one folder for all starts and resumptions of a run.
        step: events of this and later steps in older files are void.
        warn: told once, in one line, if events cannot be written.
    """

    def __init__(self, folder: Path, step: int, warn: Callable[[str], None]) -> None:
        self._warn: Callable[[str], None] | None = warn
        self._path = (
            folder / f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.0"
        )
        self._file: io.FileIO | None = None
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=step, file_version="brain.Event:2"))
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Add a number."""
        self._write(Event(step=step, summary=summary.scalar(tag, value)))  # type: ignore[no-untyped-call]

    def add_audio(self, tag: str, samples: npt.NDArray[np.float32], step: int, sample_rate: int) -> None:
        """Add a clip, [T] in [-1, 1]."""
        self._write(Event(step=step, summary=summary.audio(tag, samples, sample_rate)))  # type: ignore[no-untyped-call]

    def add_image(self, tag: str, pixels: npt.NDArray[Any], step: int) -> None:
        """Add an image, [height, width, channels] in [0, 1]."""
        self._write(Event(step=step, summary=summary.image(tag, pixels, dataformats="HWC")))  # type: ignore[no-untyped-call]

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        try:
            if self._file is None:
                self._path.parent.mkdir(exist_ok=True)
                self._file = io.FileIO(self._path, "ab")
            append(self._file, record.getvalue())
        except OSError as error:
            if self._warn is not None:
                self._warn(f"{self._path}: cannot be written ({error.strerror}); training goes on without")
                self._warn = None
