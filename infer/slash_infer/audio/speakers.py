"""The speakers, fed through a small ring buffer."""

import threading
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_infer.audio.sinks import Sink
from slash_infer.errors import Argument, UserError, first_line

Float32 = npt.NDArray[np.float32]


class Ring:
    """A ring buffer of samples between a thread that makes them and another that must never wait for them.

    Args:
        size: how many samples it holds.
    """

    def __init__(self, size: int) -> None:
        self._held = np.zeros(size, np.float32)
        self._begin = self._filled = 0
        self._changed = threading.Condition()
        self._started = self._ended = False
        self.underruns = 0
        """How often samples were missing when they were wanted."""

    def write(self, samples: Float32) -> None:
        """Append samples, float32 [T], waiting for room where necessary."""
        rest = samples
        while len(rest):
            with self._changed:
                self._changed.wait_for(lambda: self._filled < len(self._held))
                now = min(len(rest), len(self._held) - self._filled)
                self._held[self._places(self._filled, now)] = rest[:now]
                self._filled += now
                self._started = self._started or self._filled == len(self._held)
            rest = rest[now:]

    def read_into(self, out: Float32) -> None:
        """Fill `out`, float32 [T], without waiting.

        It gets silence until the ring has been full once. Later, missing samples are replaced by silence and count as
        one underrun, except at the end of the clip.
        """
        with self._changed:
            now = min(len(out), self._filled) if self._started else 0
            out[:now] = self._held[self._places(0, now)]
            out[now:] = 0
            self.underruns += self._started and not self._ended and now < len(out)
            self._begin = (self._begin + now) % len(self._held)
            self._filled -= now
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until every sample has been read. Nothing may be written afterwards."""
        with self._changed:
            self._started = self._ended = True
            self._changed.wait_for(lambda: self._filled == 0)

    def _places(self, first: int, count: int) -> npt.NDArray[np.intp]:
        return (self._begin + first + np.arange(count)) % len(self._held)


class Speakers(Sink):
    """The default output device. Leaving its context plays what was written to the end, unless an error leaves it.

    Args:
        sample_rate: in Hz.
        buffer_seconds: length of the buffer: how late samples may come before it is heard.

    Raises:
        UserError: there is nothing that plays audio.
    """

    def __init__(self, sample_rate: int, buffer_seconds: float) -> None:
        try:
            import sounddevice
        except OSError as error:  # from sounddevice, when PortAudio is missing
            raise UserError(
                Argument("play"), first_line(error), "on Debian and Ubuntu: apt install libportaudio2"
            ) from None
        self._ring = Ring(max(1, round(buffer_seconds * sample_rate)))
        try:
            self._stream = sounddevice.OutputStream(
                samplerate=sample_rate, channels=1, dtype="float32", callback=self._fill
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise UserError(
                Argument("play"), f"nothing here plays {sample_rate} Hz ({first_line(error)})", "use `out`"
            ) from None

    def __enter__(self) -> Self:
        self._stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._ring.drain()
        self._stream.close()

    @property
    def underruns(self) -> int:
        """How often the speakers ran out of samples."""
        return self._ring.underruns

    @override
    def write(self, samples: Float32) -> None:
        self._ring.write(samples)

    def _fill(self, out: npt.NDArray[np.float32], _frames: int, _time: Any, _status: Any) -> None:
        self._ring.read_into(out[:, 0])
