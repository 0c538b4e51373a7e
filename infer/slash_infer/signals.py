"""Signals as requests to stop, for work that saves first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(*, insistent: bool = True) -> Iterator[list[signal.Signals]]:
    """Append every SIGINT, SIGTERM and SIGHUP to the yielded list, instead of its usual effect.

    Args:
        insistent: whether a second signal has its usual effect. Must be false under torchrun, which repeats signals.
    """
    received: list[signal.Signals] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

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
