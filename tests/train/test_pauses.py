"""What of a recording is trained on."""

from itertools import pairwise

import numpy as np
import pytest

from slash_train.clips import Clip, cut_clips
from slash_train.corpus import Corpus
from slash_train.pauses import without_long_pauses

RATE = 1000  # a block is 20 samples


def _recording(*pieces: tuple[float, int]) -> np.ndarray:
    """Return pieces of noise: (seconds, level)."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.choice([-level, level], round(s * RATE)) for s, level in pieces]).astype(np.int16)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(2, 9000)], [(0, 2000)]),
        ([(1, 9000), (0.4, 0), (1, 9000)], [(0, 2400)]),
        ([(1, 9000), (3, 0), (1, 9000)], [(0, 1250), (3750, 5000)]),
        ([(1, 9000), (3, 20), (1, 9000)], [(0, 1250), (3750, 5000)]),
        ([(1, 9000), (3, 200), (1, 9000)], [(0, 5000)]),
        ([(1, 9000), (3, 0)], [(0, 1000)]),
        ([(3, 0), (1, 9000)], [(2750, 4000)]),
        ([(0.1, 0), (1, 9000)], [(0, 1100)]),
        ([(1, 30), (3, 0), (1, 30)], [(0, 1250), (3750, 5000)]),
        ([(1, 9000), (2, 0), (0.02, 9000), (2, 0), (1, 9000)], [(0, 1250), (2750, 3270), (4770, 6020)]),
        ([(2, 0)], []),
        ([], []),
    ],
)
def test_long_pauses_lose_their_middle_and_ends_their_silence(
    pieces: list[tuple[float, int]], expected: list[tuple[int, int]]
) -> None:
    pcm = _recording(*pieces) if pieces else np.zeros(0, np.int16)
    assert without_long_pauses(pcm, RATE, 0.5) == expected


def test_a_recording_of_many_blocks_is_looked_at_whole() -> None:
    pcm = _recording((200, 5000), (30, 0), (200, 5000))
    assert without_long_pauses(pcm, RATE, 1.0) == [(0, 200_500), (229_500, 430_000)]


def test_clips_play_the_parts_one_after_another(corpus: Corpus) -> None:
    clip = Clip("a", ((3, 5), (9, 12), (20, 21)))
    assert clip.length == 6
    assert np.array_equal(clip.read(np.arange(30, dtype=np.int16)), [3, 4, 9, 10, 11, 20])
    clips = cut_clips(corpus, "train", 0.3, longest_pause=0.5)
    whole = np.concatenate([clip.read(corpus.pcm) for clip in clips])
    parts = [part for clip in clips for part in clip.parts]
    assert len(whole) == sum(stop - start for start, stop in parts) <= corpus.length("train")
    assert all(stop <= start for (_, stop), (start, _) in pairwise(parts))
    assert max(clip.length for clip in clips) <= 0.3 * corpus.sample_rate
