"""A synthetic guitarist in numpy: plucked strings through an overdriven amplifier, playing pentatonic phrases.

It makes the small corpus of the demo and the tests without a download. The string is the one of Karplus and Strong,
"Digital synthesis of plucked-string and drum timbres" (1983), but it starts from the shape of a plucked string, where
theirs starts from noise: every note then has the same timbre, which leaves a model less to learn.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 48_000  # Hz; high enough that whole-sample periods are nearly in tune and the distortion aliases little
LOWEST_NOTE = 164.81  # Hz, E3: solos keep to the upper strings
PENTATONIC = (0, 3, 5, 7, 10)  # semitones of the minor pentatonic scale
OCTAVES = 2
BEAT = 60 / 108  # seconds, at 108 beats a minute
PICK = 0.2  # where the string is plucked, as a fraction of its length
DRIVE = 4.0  # gain before the amplifier's soft clipping
SPEAKER_TAPS = 25  # length of the loudspeaker's low-pass filter: 6 dB down at 2 kHz, silent above 4 kHz
HISS = 10 ** (-60 / 20)  # RMS of the amplifier's noise

Samples = npt.NDArray[np.float64]


def record(folder: Path, minutes: float, seed: int = 0, takes: int = 6) -> list[Path]:
    """Record `takes` improvisations of `minutes` in total as 16-bit WAV files in `folder`.

    Returns:
        the files. Their contents depend on nothing but the arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for take in range(takes):
        files.append(folder / f"take-{take + 1}.wav")
        soundfile.write(files[-1], improvise(60 * minutes / takes, [seed, take]), RATE, subtype="PCM_16")
    return files


def improvise(seconds: float, seed: list[int]) -> npt.NDArray[np.float32]:
    """Play one take: phrases that wander over the scale and end on a held note. Returns float32 [samples].

    There are no pauses. After a few minutes of training, a model cannot yet tell how long a pause lasts, and would
    fall silent for good in the first one it generates.
    """
    rng = np.random.default_rng(seed)
    strings = np.zeros(round(seconds * RATE))
    scale = [12 * octave + step for octave in range(OCTAVES) for step in PENTATONIC]
    degree, now = len(scale) // 2, 0.0
    while now < seconds:
        lengths = [*rng.choice([0.25, 0.5, 0.5, 1.0], rng.integers(4, 10)), 2.0]
        for length in BEAT * np.array(lengths):
            degree = int(np.clip(degree + rng.choice([-2, -1, -1, 1, 1, 2]), 0, len(scale) - 1))
            _add(strings, now, pluck(LOWEST_NOTE * 2 ** (scale[degree] / 12), length, rng))
            now += length
    return amplify(strings, rng).astype(np.float32)


def pluck(frequency: float, seconds: float, rng: np.random.Generator) -> Samples:
    """Return one plucked note: the shape of the plucked string circulates in a delay line with a low-pass filter."""
    period = max(2, round(RATE / frequency - 0.5))  # the averaging below delays by half a sample
    where = PICK * rng.uniform(0.9, 1.1)
    turn = np.interp(np.arange(period) / period, [0, where, 1], [0, 1, 0])  # the string as the pick has pulled it
    turn -= turn.mean()  # a constant offset would circulate for ever
    sustain = 0.5 * 0.001 ** (1 / (frequency * 8.0))  # decays by 60 dB in 8 seconds, and faster through the averaging
    turns, last = [turn], 0.0
    for _ in range(int(seconds * RATE / period)):
        delayed = np.concatenate(([last], turn[:-1]))
        last, turn = turn[-1], sustain * (turn + delayed)
        turns.append(turn)
    note = np.concatenate(turns)[: round(seconds * RATE)]
    fade = min(len(note), RATE // 200)  # the finger damps the string within 5 ms
    note[len(note) - fade :] *= np.linspace(1, 0, fade)
    return note


def amplify(strings: Samples, rng: np.random.Generator) -> Samples:
    """Apply soft overdrive, a loudspeaker's low-pass filter and noise."""
    driven = np.tanh(DRIVE * strings)
    speaker = np.hanning(SPEAKER_TAPS)
    filtered = np.convolve(driven, speaker / speaker.sum(), mode="same")
    return 0.7 * filtered + HISS * rng.standard_normal(len(strings))


def _add(track: Samples, start: float, note: Samples) -> None:
    """Mix `note` into `track` at `start` seconds, cut off at the end of the track."""
    first = round(start * RATE)
    room = track[first : first + len(note)]
    room += note[: len(room)]
