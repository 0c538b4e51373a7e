"""How a signal ends the process, at whatever moment it comes: exit code 128 + n, and one line or none.

While a command loads what it needs, there is nothing to be lost, and the process ends at once: an exception inside an
import may be taken for a missing package. Later, an exception ends it, so that every `finally` runs. A second signal
ends it at once.
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 0.05  # seconds until a signal is looked at again that came while a library was importing something

_received: list[int] = []


def heed_signals() -> None:
    """Heed the signals that ask to stop, except those that are ignored, as nohup ignores SIGHUP."""
    _set_handlers(_stop)
    sys.unraisablehook = _see_unraisable
    atexit.register(_set_handlers, signal.SIG_IGN)  # runs last: what is left is the interpreter taking itself apart


def received() -> int | None:
    """Return the signal that asked to stop, if one did."""
    return _received[0] if _received else None


def finish(code: int) -> NoReturn:
    """Exit, at once if another signal comes while the interpreter waits for its threads."""
    _set_handlers(_leave)
    sys.exit(code)


def _set_handlers(handler: "signal._HANDLER") -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    importer = _importer(frame)
    if _received or (importer is not None and importer.partition(".")[0] == __package__):
        _leave(number, frame)
    if importer is not None:
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    _received.append(number)
    sys.exit(128 + number)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _importer(frame: FrameType | None) -> str | None:
    """Return the module that the outermost import in progress was asked by; None if nothing is being imported."""
    importer, importing = None, False
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name == "importlib" or frame.f_code.co_filename.startswith("<frozen importlib"):
            importing = True
        elif importing:
            importer, importing = name, False
        if name == __package__:  # who called the command line is of no interest
            break
        frame = frame.f_back
    return importer


def _see_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Leave where the exception of a signal was raised in a callback or a finaliser, which cannot pass it on."""
    if _received and unraisable.exc_type is SystemExit:
        os._exit(128 + _received[0])
    sys.__unraisablehook__(unraisable)
