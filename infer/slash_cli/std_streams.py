"""Standard output and error, where writing may fail: messages are dropped then, and the work goes on.

A log disk is full, a pipe has lost its reader, a terminal is gone, a descriptor was closed: none of it is a reason to
stop a training, or to leave a corpus unfinished that only its summary is missing of.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import BinaryIO, TextIO

from typing_extensions import Buffer, override

_faults: list[OSError] = []  # of standard output


class Lossy(io.RawIOBase):
    """A descriptor to write to, which drops what it cannot write.

    Args:
        descriptor: the descriptor. It is not closed.
        note: told why something was dropped.
    """

    def __init__(self, descriptor: int, note: Callable[[OSError], object]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._note = note

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @override
    def write(self, data: Buffer, /) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            self._note(error)
            return memoryview(data).nbytes


def open_standard_streams() -> None:
    """Let messages be dropped that cannot be written, and see to it that no file takes a standard descriptor's place.

    Libraries print to descriptors 1 and 2, whatever they are: a corpus or a clip must not be opened in a closed one's
    place.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError as error:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(descriptor, True)
            if descriptor == 1:
                sys.stdout = None  # as Python does: audio must not go nowhere for ever
                _faults.append(error)
    sys.stderr = _lossy(sys.stderr, 2, lambda _: None)
    if sys.stdout is not None:
        sys.stdout = _lossy(sys.stdout, 1, _faults.append)


def output_fault() -> OSError | None:
    """Return what went wrong with standard output since the last call. A reader that has had enough is no fault."""
    if sys.stdout is not None:
        sys.stdout.flush()
    fault = next((fault for fault in _faults if not isinstance(fault, BrokenPipeError)), None)
    _faults.clear()
    return fault


def audio_output() -> BinaryIO:
    """Return standard output for audio: writing to it raises what goes wrong. It must be open."""
    return open(sys.stdout.fileno(), "wb", closefd=False)  # a descriptor


def _lossy(stream: TextIO | None, descriptor: int, note: Callable[[OSError], object]) -> TextIO:
    """Return a text stream in place of another; `stream` is None if it was closed."""
    if stream is not None:
        stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    by_line = stream is None or bool(getattr(stream, "line_buffering", False))
    buffered = io.BufferedWriter(Lossy(descriptor, note))
    return io.TextIOWrapper(buffered, encoding, errors="backslashreplace", line_buffering=by_line)
