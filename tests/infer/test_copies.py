"""Copied stretches are found with their place and length, and what is only alike is not taken for one."""

import numpy as np
import numpy.typing as npt
import pytest

from slash_infer.audio.ear.copies import Copied, Copy, longest_copies
from slash_infer.audio.ear.source import RATE, Source, source_of
from slash_infer.codec import Codec

Float64 = npt.NDArray[np.float64]


def phrase(seed: int, seconds: float) -> Float64:
    """Return notes of random pitch, loudness and timbre, none like another."""
    rng = np.random.default_rng(seed)
    notes: list[Float64] = []
    while sum(map(len, notes)) < seconds * RATE:
        time = np.arange(round(rng.uniform(0.1, 0.4) * RATE)) / RATE
        hertz = rng.uniform(90, 700)
        partials = [rng.lognormal(sigma=2) * np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12)]
        note = np.exp(-3 * time) * sum(partials, 0 * time)
        notes.append(rng.uniform(0.03, 0.1) * note / np.std(note))
    return np.concatenate(notes)[: round(seconds * RATE)]


RECORDINGS = [source_of(f"take {seed}", phrase(seed, 20)) for seed in (1, 2, 3)]


def copied(*clips: Float64, recordings: list[Source] | None = None) -> list[Copied]:
    return longest_copies([source_of("clip", clip) for clip in clips], recordings or RECORDINGS)


def copies(*clips: Float64, recordings: list[Source] | None = None) -> list[Copy | None]:
    return [both.longest for both in copied(*clips, recordings=recordings)]


def with_copy(seconds: float, *, start: float, recording: int, recording_start: float) -> Float64:
    """Return a clip of 6 seconds into which a stretch of a recording was copied."""
    clip, length = phrase(9, 6), round(seconds * RATE)
    first, there = round(start * RATE), round(recording_start * RATE)
    clip[first : first + length] = phrase(recording + 1, 20)[there : there + length]
    return clip


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("start", [0.0, 1.7333])
@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_a_copy_is_found_with_its_length_and_place(seconds: float, start: float, gain: float) -> None:
    clip = with_copy(seconds, start=start, recording=1, recording_start=7.123)
    codec = Codec()
    for heard in (gain * clip, codec.decode(codec.encode(gain * clip)).astype(np.float64)):
        (copy,) = copies(heard)
        assert copy is not None and copy.recording == "take 2"
        assert copy.seconds == pytest.approx(seconds, abs=0.1)
        assert copy.start == pytest.approx(start, abs=0.07)
        assert copy.recording_start - copy.start == pytest.approx(7.123 - start, abs=0.02)


@pytest.mark.parametrize("start", [7.123, 3.3, 15.0])
def test_a_passage_is_found_where_another_note_begins(start: float) -> None:
    """Half a second of notes of 0.1 to 0.4 s has two or three; through mu-law, too."""
    clip = with_copy(0.5, start=2.0, recording=1, recording_start=start)
    codec = Codec()
    for heard in (clip, codec.decode(codec.encode(clip)).astype(np.float64)):
        (both,) = copied(heard)
        assert both.passage is not None and both.passage == both.longest
        assert both.passage.seconds == pytest.approx(0.5, abs=0.1)


def test_a_held_note_is_no_passage() -> None:
    """However long: it is a copy, but a clip that plays on has nothing else of it."""
    time = np.arange(2 * RATE) / RATE
    partials = [np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 12)]
    held = 0.1 * np.exp(-time) * np.sum(partials, axis=0)
    recording = source_of("take", np.concatenate([phrase(4, 2), held, phrase(5, 2)]))
    (both,) = copied(np.concatenate([phrase(6, 1), held, phrase(7, 1)]), recordings=[recording])
    assert both.longest is not None and both.longest.seconds == pytest.approx(2, abs=0.15)
    assert both.passage is None or both.passage.seconds < 0.4


def test_each_clip_has_its_own_longest_copy() -> None:
    clips = [
        with_copy(1.0, start=1, recording=0, recording_start=3),
        phrase(9, 6),
        with_copy(2.0, start=4, recording=2, recording_start=17.9),
    ]
    first, none, last = copies(*clips)
    assert first is not None and first.recording == "take 1" and first.seconds == pytest.approx(1, abs=0.1)
    assert none is None or none.seconds < 0.4
    assert last is not None and last.recording == "take 3" and last.recording_start == pytest.approx(17.9, abs=0.07)


def test_other_takes_noise_and_silence_copy_nothing() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)
    recordings = [*RECORDINGS, source_of("silence", np.zeros(5 * RATE)), source_of("nothing", np.zeros(0))]
    found = copies(phrase(11, 6), noise, np.zeros(5 * RATE), np.zeros(0), np.zeros(10), recordings=recordings)
    assert all(copy is None or copy.seconds < 0.4 for copy in found)
    assert found[2:] == [None, None, None]
    assert all(both.passage is None for both in copied(noise, np.zeros(5 * RATE), recordings=recordings))


def test_a_run_does_not_go_on_from_one_recording_or_clip_to_the_next() -> None:
    whole = phrase(1, 20)
    halves = [source_of("first", whole[: 10 * RATE]), source_of("second", whole[10 * RATE :])]
    (copy,) = copies(whole[8 * RATE : 13 * RATE], recordings=halves)
    assert copy is not None and copy.recording == "second" and copy.seconds == pytest.approx(3, abs=0.1)
    before, after = copies(whole[2 * RATE : 4 * RATE], whole[4 * RATE : 7 * RATE])
    assert before is not None and before.seconds == pytest.approx(2, abs=0.1)
    assert after is not None and after.seconds == pytest.approx(3, abs=0.1) and after.start == 0


def test_nothing_is_copied_from_nothing_and_nothing_has_no_copies() -> None:
    assert longest_copies([], RECORDINGS) == []
    assert longest_copies([source_of("clip", phrase(1, 2))], []) == [Copied(None, None)]
