"""Keeps what decoders print from reaching the terminal. libmpg123 writes notes and warnings to file descriptor 2."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

STDERR = 2
_LOCK = threading.RLock()


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2 in the body. What Python writes to `sys.stderr` arrives.

    It is meant for a single call of a decoder. Threads that use it take turns.
    """
    with _LOCK, ExitStack() as stack:
        try:
            terminal = os.dup(STDERR)
        except OSError:  # closed: there is nothing to keep quiet
            yield
            return
        stack.callback(os.close, terminal)
        stack.enter_context(_python_writes_to(terminal))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, STDERR)
        finally:
            os.close(nowhere)
        stack.callback(os.dup2, terminal, STDERR)
        yield


@contextmanager
def _python_writes_to(handle: int) -> Iterator[None]:
    """Let `sys.stderr` write to `handle` in the body, if it is a stream on file descriptor 2."""
    before = sys.stderr
    try:
        on_stderr = before.fileno() == STDERR
    except (AttributeError, OSError, ValueError):  # none, replaced by a stream without a descriptor, or closed
        on_stderr = False
    if not on_stderr:
        yield
        return
    before.flush()
    stand_in = io.TextIOWrapper(
        os.fdopen(handle, "wb", buffering=0, closefd=False),
        encoding=before.encoding,
        errors=before.errors,
        write_through=True,
    )
    sys.stderr = stand_in
    try:
        yield
    finally:
        if sys.stderr is stand_in:
            sys.stderr = before
