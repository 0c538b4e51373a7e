"""The training data: every sample once per epoch, clips that start from silence, no targets past their ends."""

import numpy as np
import pytest
import torch

from slash_train.clips import cut_clips
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.loader import Loader
from slash_train.streams import NO_TARGET, Position, TrainingStream, WindowReader, read_once


def test_clips_tile_their_regions(corpus: Corpus) -> None:
    clips = cut_clips(corpus, "train", 2.0)
    assert sum(clip.length for clip in clips) == corpus.length("train")
    assert max(clip.length for clip in clips) <= 32_000
    assert len({clip.parts for clip in clips}) == len(clips)


def test_reading_once_predicts_every_sample_once(corpus: Corpus, tiny: Preset) -> None:
    clips = cut_clips(corpus, "valid", 0.7)
    reader = WindowReader(tiny.audio.codec, 16, 256)
    predicted = np.concatenate([w.targets.ravel() for _, w in read_once(corpus, clips, reader, 3, 256)])
    predicted = predicted[predicted != NO_TARGET]
    pcm = np.concatenate([clip.read(corpus.pcm) for clip in clips])
    expected = tiny.audio.codec.encode_pcm16(pcm)
    assert np.array_equal(np.bincount(predicted, minlength=256), np.bincount(expected, minlength=256))


def test_windows_continue_their_clip_and_start_from_silence(corpus: Corpus, tiny: Preset) -> None:
    stream = TrainingStream(corpus, tiny)
    silence, context = tiny.audio.codec.silence, tiny.model.context
    before = stream.next().window
    assert before.starting.all()
    for _ in range(200):
        for lane in np.flatnonzero(before.starting):
            assert (before.codes[lane, :context] == silence).all()
        inside = before.targets != NO_TARGET
        assert np.array_equal(before.codes[:, context:][inside], before.targets[inside])
        after = stream.next().window
        for lane in np.flatnonzero(~after.starting):
            assert np.array_equal(after.codes[lane, :context], before.codes[lane, -context:])
        before = after


def test_a_context_longer_than_windows_is_filled_with_what_the_clip_has(corpus: Corpus, tiny: Preset) -> None:
    """Before its beginning there is silence, even where the recording goes on before it."""
    clip = next(clip for clip in cut_clips(corpus, "train", 0.1) if clip.parts[0][0] and clip.length > 900)
    assert corpus.pcm[clip.parts[0][0] - 600 : clip.parts[0][0]].any()
    codec, context = tiny.audio.codec, 600
    reader = WindowReader(codec, context, 256)
    pcm = clip.read(corpus.pcm)
    codes = codec.encode_pcm16(pcm)
    for offset in (0, 256, 512, 768):
        expected = np.concatenate([np.full(context, codec.silence), codes])[offset:][: context + 256]
        read = reader.read([(pcm, offset)]).codes[0]
        assert np.array_equal(read[: len(expected)], expected)
        assert (read[len(expected) :] == codec.silence).all()


def test_an_epoch_hands_out_every_clip_once_in_a_new_order(corpus: Corpus, tiny: Preset) -> None:
    """As the order of an epoch is a permutation, the clips of the windows that start one are compared."""
    stream = TrainingStream(corpus, tiny)
    reader = WindowReader(tiny.audio.codec, tiny.model.context, tiny.training.window)
    cut = cut_clips(corpus, "train", tiny.training.clip_seconds, tiny.training.longest_pause)
    clips = [clip.read(corpus.pcm) for clip in cut]
    number = {reader.read([(clip, 0)]).targets.tobytes(): i for i, clip in enumerate(clips)}
    assert len(number) == len(clips)
    drawn: list[int] = []
    while len(drawn) < 3 * len(clips):
        window = stream.next().window
        drawn += [number[window.targets[lane].tobytes()] for lane in np.flatnonzero(window.starting)]
    epochs = [drawn[len(clips) * epoch : len(clips) * (epoch + 1)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(len(clips))) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def _augmented(tiny: Preset) -> Preset:
    training = tiny.training.model_copy(update={"augment_semitones": 2})
    return tiny.model_copy(update={"training": training})


def test_augmented_clips_are_played_whole_and_another_way_in_every_epoch(corpus: Corpus, tiny: Preset) -> None:
    stream = TrainingStream(corpus, _augmented(tiny))
    lengths: list[int] = []
    clips = cut_clips(corpus, "train", tiny.training.clip_seconds)
    length = np.zeros(tiny.training.batch_size, int)
    while len(lengths) < 2 * len(clips):
        window = stream.next().window
        for lane in np.flatnonzero(window.starting):
            lengths += [int(length[lane])] * bool(length[lane])
            length[lane] = 0
        length += np.count_nonzero(window.targets != NO_TARGET, axis=1)
    slowest, fastest = (max(clip.length for clip in clips) * 2 ** (sign * 2 / 12) for sign in (1, -1))
    assert fastest * 0.9 < min(lengths) < max(lengths) < slowest + 1
    assert len(set(lengths)) >= 5


def test_where_lanes_would_be_left_without_clips_are_shorter(corpus: Corpus, tiny: Preset) -> None:
    lanes = len(cut_clips(corpus, "train", tiny.training.clip_seconds)) + 5
    training = tiny.training.model_copy(update={"batch_size": lanes})
    stream = TrainingStream(corpus, tiny.model_copy(update={"training": training}))
    window = stream.next().window
    assert window.starting.all() and len({window.codes[lane].tobytes() for lane in range(lanes)}) > lanes // 2
    predicted = 0
    while stream.position.epoch == 0:
        predicted += stream.next().samples
    assert predicted >= corpus.length("train") * 0.5


@pytest.mark.parametrize("augmented", [False, True])
def test_a_stream_continues_from_its_position(corpus: Corpus, tiny: Preset, augmented: bool) -> None:
    tiny = _augmented(tiny) if augmented else tiny
    stream = TrainingStream(corpus, tiny)
    for _ in range(137):
        stream.next()
    again = TrainingStream(corpus, tiny, Position.model_validate_json(stream.position.model_dump_json()))
    for _ in range(300):
        a, b = stream.next().window, again.next().window
        assert np.array_equal(a.codes, b.codes) and np.array_equal(a.starting, b.starting)


@pytest.mark.parametrize("augmented", [False, True])
def test_workers_share_the_lanes_and_keep_the_same_position(corpus: Corpus, tiny: Preset, augmented: bool) -> None:
    tiny = _augmented(tiny) if augmented else tiny
    whole = TrainingStream(corpus, tiny)
    halves = [TrainingStream(corpus, tiny, lanes=lanes) for lanes in (slice(0, 4), slice(4, 8))]
    for _ in range(100):
        expected, parts = whole.next(), [half.next() for half in halves]
        assert np.array_equal(expected.window.codes, np.concatenate([part.window.codes for part in parts]))
        assert {part.samples for part in parts} == {expected.samples}
        assert expected.samples == np.count_nonzero(expected.window.targets != NO_TARGET)
        assert parts[0].after == parts[1].after == expected.after


def test_the_loader_hands_out_the_stream_in_order(corpus: Corpus, tiny: Preset) -> None:
    stream = TrainingStream(corpus, tiny)
    with Loader(TrainingStream(corpus, tiny), torch.device("cpu")) as loader:
        for _ in range(50):
            expected, batch = stream.next(), loader.next()
            assert np.array_equal(batch.codes.numpy(), expected.window.codes)
            assert batch.draw.after == expected.after
