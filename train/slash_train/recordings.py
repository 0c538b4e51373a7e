"""Decodes recordings block by block, to mono at the target sample rate."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from slash_infer.audio.decoder import Frames
from slash_infer.audio.limits import LOUDEST
from slash_infer.audio.recording import open_recording, shortfall
from slash_infer.errors import UserError
from slash_train.choices import Channel

Mono = npt.NDArray[np.float32]
MOST_REMARKS = 20  # of a recording that are kept: a damaged one may have thousands
STRIDE = 7  # of the frames whose power is measured
FULL_SCALE = 32767 / 32768  # from here on a sample counts as clipped: the end of the 16-bit range


@dataclass
class SourceStats:
    """Facts about a file, filled in while it is decoded."""

    frames: int = 0
    """Sample frames decoded so far, at the file's own rate."""
    rate: int = 0
    """Sample rate of the file in Hz."""
    clipped: int = 0
    """Samples at full scale, over all channels."""
    channel_power: float = 0.0
    """Mean square of the channels without their offsets, averaged over them."""
    mixed_power: float = 0.0
    """The same of the channel that they became."""
    sha256: str = ""
    """Of the mono samples before resampling, and their rate: the same for the same audio in another format."""
    remarks: list[str] = field(default_factory=list)
    """What is not as it should be in the file."""


def decode(path: Path, sample_rate: int, channel: Channel, stats: SourceStats) -> Iterator[Mono]:
    """Yield `path` as mono float32 blocks [n] at `sample_rate` Hz (soxr, high quality).

    Args:
        path: anything that `slash_infer.audio` reads, at any depth and channel count.
        sample_rate: the target rate in Hz.
        channel: `mix` averages all channels; `left` and `right` take the first and the second.
        stats: filled in while the file is decoded.

    Raises:
        UserError: the file is not audio or empty, holds numbers that are not finite, or lacks the right channel asked
            for.
    """
    with open_recording(path) as decoder:
        stats.rate = decoder.rate
        resampler = soxr.ResampleStream(decoder.rate, sample_rate, 1, dtype="float32")
        digest = hashlib.sha256(f"{decoder.rate} Hz".encode())
        channels, mixed = _Power(), _Power()
        for block in decoder.blocks():
            if channel == "right" and block.shape[1] < 2:
                raise UserError(path, "is mono and has no right channel", "use `channel` mix or left")
            mono = _one_channel(block, channel)
            if not np.abs(mono).max(initial=0.0) < LOUDEST:  # catches NaN, too
                raise UserError(path, "holds samples that are not finite, or absurd", "repair or remove it")
            stats.frames += len(block)
            stats.clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
            digest.update((mono + np.float32(0)).astype("<f4").tobytes())  # -0 becomes 0
            if channel == "mix" and block.shape[1] > 1:
                channels.add(block[::STRIDE])
                mixed.add(mono[::STRIDE, np.newaxis])
            yield resampler.resample_chunk(mono)
        if stats.frames == 0:
            raise UserError(path, "holds no audio", "remove it")
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        stats.channel_power, stats.mixed_power = channels.mean(), mixed.mean()
        stats.sha256 = digest.hexdigest()
        stats.remarks += decoder.remarks[:MOST_REMARKS]
        if len(decoder.remarks) > MOST_REMARKS:
            stats.remarks.append(f"and {len(decoder.remarks) - MOST_REMARKS} more such places")
        short = shortfall(decoder, stats.frames)
        if short is not None:
            stats.remarks.insert(0, short)


class _Power:
    """The mean square of samples in several channels, block by block."""

    def __init__(self) -> None:
        self._power = 0.0
        self._frames = 0

    def add(self, block: Frames) -> None:
        """Count a block, [n, channels]. An offset within the block does not count."""
        sound = block - np.einsum("ij->j", block) / np.float32(len(block))  # einsum takes one thread, and no time
        self._power += float(np.einsum("ij,ij->", sound, sound)) / block.shape[1]
        self._frames += len(block)

    def mean(self) -> float:
        return self._power / self._frames if self._frames else 0.0


def _one_channel(block: Frames, channel: Channel) -> Mono:
    """Reduce samples [n, channels] to one channel, [n]."""
    if channel == "mix":
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused afterwards
            return np.asarray(np.mean(block, axis=1), np.float32)
    return np.ascontiguousarray(block[:, 0 if channel == "left" else 1])
