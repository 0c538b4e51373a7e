"""Generates clips into audio files, each with a JSON sidecar that says how to make it again."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from slash_infer import __version__
from slash_infer.bundle import Bundle
from slash_infer.codec import to_pcm16
from slash_infer.engine import Engine
from slash_infer.errors import UserError, first_line
from slash_infer.files import whole_file, write_json
from slash_infer.sampler import Sampler

MADE_BY = "slash generate"
FORMATS = {".wav": "WAV", ".flac": "FLAC"}
SUBTYPE = "PCM_16"
BATCH = 16  # clips made side by side: enough to fill the processor, few enough to hear the first ones soon

Advance = Callable[[float, float], None]
"""Called with the seconds of audio just made, over the batch, and the x realtime of the batch so far."""


@dataclass(frozen=True)
class Rendered:
    """What a call of `render` made."""

    files: list[Path]
    seconds: float
    """Of audio, all clips together."""
    wall_seconds: float

    together: int
    """Clips made side by side."""

    @property
    def realtime_batch(self) -> float:
        """Seconds of audio made per second of wall clock, all clips together."""
        return self.seconds / self.wall_seconds

    @property
    def realtime_clip(self) -> float:
        """The same for each of the clips made side by side."""
        return self.realtime_batch / self.together


def render(
    bundle: Bundle,
    files: Sequence[Path],
    engine: Engine,
    *,
    seconds: float,
    seed: int,
    temperature: float = 1.0,
    advance: Advance = lambda *_: None,
) -> Rendered:
    """Generate clip i into `files[i]` and describe it in a .json file of the same name.

    Files appear when the clips made side by side are finished; an interruption loses only those under way.

    Args:
        bundle: the exported model.
        files: where to write, .wav or .flac, as 16-bit PCM.
        engine: the bundle's.
        seconds: length of each clip.
        seed: of the random draws, with the clip's number.
        temperature: divides the logits.
        advance: told of progress.

    Returns:
        the files and how long it took.

    Raises:
        UserError: a file cannot be written, because the disk is full for example.
    """
    start = time.perf_counter()
    for first in range(0, len(files), BATCH):
        clips = range(first, min(first + BATCH, len(files)))
        sampler = Sampler(bundle, clips, seed=seed, temperature=temperature, engine=engine)
        batch_start, made = time.perf_counter(), 0.0
        with ExitStack() as stack:
            parts = [stack.enter_context(whole_file(files[clip])) for clip in clips]
            sinks = [
                stack.enter_context(_opened(files[clip], part, bundle.manifest.sample_rate))
                for clip, part in zip(clips, parts, strict=True)
            ]
            for block in sampler.stream(seconds):
                for file, sink, samples in zip(files[clips.start : clips.stop], sinks, block, strict=True):
                    _write(file, sink, to_pcm16(samples))
                step = block.size / bundle.manifest.sample_rate
                made += step
                advance(step, made / (time.perf_counter() - batch_start))
        realtime = made / (time.perf_counter() - batch_start)
        for clip in clips:
            description = _describe(bundle, engine, clip, seconds, seed, temperature)
            speed = {"clips_together": len(clips), "realtime_batch": round(realtime, 4)}
            write_json(files[clip].with_suffix(".json"), description | speed)
    return Rendered(list(files), seconds * len(files), time.perf_counter() - start, min(BATCH, len(files)))


def _opened(file: Path, part: Path, sample_rate: int) -> soundfile.SoundFile:
    """Open `part`, which is to become `file`, for writing."""
    try:
        return soundfile.SoundFile(
            part, "w", samplerate=sample_rate, channels=1, format=FORMATS[file.suffix.lower()], subtype=SUBTYPE
        )
    except (soundfile.LibsndfileError, UnicodeEncodeError) as error:
        raise UserError(f"{str(file)!r}: cannot be written ({first_line(error)}); choose another --out") from None


def _write(file: Path, sink: soundfile.SoundFile, pcm: npt.NDArray[np.int16]) -> None:
    try:
        sink.write(pcm)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{file}: cannot be written ({error.error_string}); is the disk full?") from None


def _describe(
    bundle: Bundle, engine: Engine, clip: int, seconds: float, seed: int, temperature: float
) -> dict[str, object]:
    """Return everything a clip is a function of."""
    return {
        "made_by": MADE_BY,
        "seed": seed,
        "clip": clip,
        "temperature": temperature,
        "seconds": seconds,
        "sample_rate": bundle.manifest.sample_rate,
        "engine": engine.runtime.name,
        "precision": engine.precision,
        "runtime": engine.runtime.description,
        "slash_version": __version__,
        "manifest_sha256": bundle.manifest_sha256,
        "provenance": bundle.manifest.provenance.model_dump(mode="json"),
    }
