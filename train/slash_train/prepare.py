"""Makes a corpus from recordings, block by block: memory does not grow with the corpus.

There are two passes. The first decodes every recording into a temporary float32 file and measures it; the second
applies one gain to all recordings and writes int16.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slash_infer.codec import to_pcm16
from slash_infer.errors import Argument, UserError
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_train.choices import Channel
from slash_train.corpus import MADE_BY, MANIFEST, SAMPLES, CorpusManifest, Recording
from slash_train.recordings import SourceStats, decode, find_recordings
from slash_train.splits import divide

TARGET_PEAK = 10 ** (-1 / 20)  # the loudest sample of the corpus ends up at -1 dBFS
SILENT_PEAK = 10 ** (-120 / 20)  # below this, a recording is nothing but rounding noise
SILENCE = 10 ** (-60 / 20)  # a block whose peak is below -60 dBFS counts as silent
SILENCE_BLOCKS_PER_SECOND = 20
COPY_SAMPLES = 1 << 20

Advance = Callable[[str], None]
"""Called with the name of each recording once it has been decoded."""


def prepare(
    sources: Sequence[Path],
    out: Path,
    *,
    sample_rate: int = 16_000,
    channel: Channel = "mix",
    valid: float = 0.1,
    test: float = 0.1,
    force: bool = False,
    advance: Advance = lambda _: None,
) -> CorpusManifest:
    """Make the corpus `out` from audio files and folders.

    Args:
        sources: files, and folders to search for files.
        out: the directory to make. It appears complete, or not at all.
        sample_rate: sample rate of the corpus in Hz.
        channel: how several channels are reduced to one.
        valid: fraction to hold out for validation, 0 for none.
        test: fraction to hold out for testing, 0 for none.
        force: replace an existing corpus at `out`.
        advance: called after each recording.

    Returns:
        the manifest, as written to `corpus.json`.

    Raises:
        UserError: a fraction or the rate is out of range, there are no recordings or an unreadable one, all are
            silent, or `out` exists.
    """
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise UserError(
            Argument("valid", f"{valid} `test` {test}"), "each must be at least 0 and both together under 1"
        )
    if not 1000 <= sample_rate <= 192_000:
        raise UserError(Argument("sample_rate", sample_rate), "must be from 1000 to 192000 Hz")
    paths = find_recordings(sources)
    check_directory_output(out, force=force, metadata=MANIFEST, made_by=MADE_BY, inputs=paths)
    with atomic_directory(out, force=force, metadata=MANIFEST, made_by=MADE_BY) as folder:
        decoded = folder / "decoded.float32"
        measured = []
        with decoded.open("wb") as sink:
            for path in paths:
                measured.append(_decode_and_measure(path, sample_rate, channel, sink.write))
                advance(path.name)
        peak = max(m.peak for m in measured)
        if peak < SILENT_PEAK:
            raise UserError(sources[0], "every recording is silent", "nothing can be learned from it")
        gain = TARGET_PEAK / peak
        _write_pcm(decoded, folder / SAMPLES, gain)
        decoded.unlink()
        names = _names(paths)
        divided = divide(names, [m.length for m in measured], valid, test)
        manifest = CorpusManifest(
            sample_rate=sample_rate,
            channel=channel,
            gain_db=float(20 * np.log10(gain)),
            recordings=tuple(
                Recording(
                    name=name,
                    source_rate=m.stats.rate,
                    peak=m.peak,
                    clipped=m.stats.clipped,
                    silent_seconds=m.silent_samples / sample_rate,
                    regions=tuple(regions),
                )
                for name, m, regions in zip(names, measured, divided, strict=True)
            ),
        )
        if manifest.length("train") == 0:
            raise UserError(sources[0], "nothing is left to train on", "lower `valid` and `test`")
        write_json(folder / MANIFEST, manifest.model_dump())
    return manifest


class _Measurement:
    """Measures one recording, at the corpus's rate, while it is decoded."""

    def __init__(self, sample_rate: int) -> None:
        self.stats = SourceStats()
        self.length = 0
        self.peak = 0.0
        self.silent_samples = 0
        self._block = max(1, sample_rate // SILENCE_BLOCKS_PER_SECOND)
        self._remainder: npt.NDArray[np.float32] = np.zeros(0, np.float32)

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        self.length += len(samples)
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        pending = np.concatenate([self._remainder, samples])
        whole = len(pending) // self._block * self._block
        self._count_silence(pending[:whole].reshape(-1, self._block))
        self._remainder = pending[whole:]

    def finish(self) -> None:
        if len(self._remainder):
            self._count_silence(self._remainder[np.newaxis])

    def _count_silence(self, blocks: npt.NDArray[np.float32]) -> None:
        silent = np.abs(blocks).max(axis=1, initial=0.0) < SILENCE
        self.silent_samples += int(np.count_nonzero(silent)) * blocks.shape[1]


def _decode_and_measure(
    path: Path, sample_rate: int, channel: Channel, write: Callable[[bytes], int]
) -> _Measurement:
    measure = _Measurement(sample_rate)
    for block in decode(path, sample_rate, channel, measure.stats):
        measure.add(block)
        write(block.tobytes())
    measure.finish()
    if measure.length == 0:
        raise UserError(path, f"is shorter than one sample at {sample_rate} Hz", "remove it")
    return measure


def _write_pcm(decoded: Path, out: Path, gain: float) -> None:
    """Scale the float32 samples in `decoded` by `gain` and write them to `out`, an int16 .npy file."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (decoded.stat().st_size // 4,)}
    with decoded.open("rb") as source, out.open("wb") as target:
        np.lib.format.write_array_header_1_0(target, header)
        while block := source.read(4 * COPY_SAMPLES):
            target.write(to_pcm16(np.frombuffer(block, np.float32) * gain).astype("<i2").tobytes())


def _names(paths: Sequence[Path]) -> list[str]:
    """Name recordings by file name, with as many parent folders as it takes to make the names unique."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [
        os.fsencode(name).decode("utf-8", errors="replace") for name in names
    ]  # the bytes of old file names may not be valid UTF-8
