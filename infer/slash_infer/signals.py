"""Signals as requests to stop, for work that saves first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(*, insistent: bool = True) -> Iterator[list[signal.Signals]]:
    """Append every SIGINT, SIGTERM and SIGHUP to the yielded list, instead of its usual effect.

    A signal that is ignored stays so: nohup ignores SIGHUP, and shells SIGINT in the background.

    Args:
        insistent: whether a second signal has its usual effect. Must be false under torchrun, which repeats signals.
    """
    received: list[signal.Signals] = []
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not signal.SIG_IGN}

    def note(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))
        if insistent:
            for each, handler in before.items():
                signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
