"""Compares clips with recordings, beside what recordings score against other recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from slash_infer.audio.ear.bands import SILENT
from slash_infer.audio.ear.copies import Copied, Copy, longest_copies, seconds_of
from slash_infer.audio.ear.folds import Folds
from slash_infer.audio.ear.heard_set import HeardSet
from slash_infer.audio.ear.hearing import Heard, hear
from slash_infer.audio.ear.reference import Reference
from slash_infer.audio.ear.segments import SEGMENT_SECONDS
from slash_infer.audio.ear.source import Source
from slash_infer.audio.ear.stretches import spread_stretches
from slash_infer.errors import Argument, UserError

LONGEST_CLIPS = 10 * 3600.0
"""Seconds of all clips together: the search for copies keeps them in memory."""
COPY_STRETCHES = 64
"""Of recordings, of ten seconds each, in which copies of other recordings are searched for."""
SILENT_DB = 20 * float(np.log10(SILENT))


@dataclass(frozen=True)
class Score:
    """The measures of a set of clips or recordings: means over its members, except where it says otherwise."""

    count: int
    seconds: float
    """Of all together."""
    distance: float
    """From the reference; of all segments together."""
    harmonicity: float
    stuck: float
    onsets: float
    centroid: float
    level_db: float
    longest_copy: float
    """Seconds of the longest copy in any member; of recordings, in any of the stretches that were searched."""
    median_copy: float
    """Of the longest copies in each."""
    longest_passage: float
    """As `longest_copy`, but of copies that go on from one note to the next."""


@dataclass(frozen=True)
class ClipScore:
    """The measures of one clip."""

    name: str
    seconds: float
    distance: float | None
    """None if it is too short."""
    harmonicity: float
    stuck: float
    onsets: float
    centroid: float
    level_db: float
    copy: Copy | None
    """The longest; None where nothing is like any recording."""
    passage: Copy | None
    """The longest that goes on from one note to the next."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found."""

    reference_count: int
    """Recordings that the clips were compared with."""
    reference_seconds: float
    clips: Score
    recordings: Score
    """What recordings score against other recordings."""
    held_out: bool
    """Whether `recordings` are held-out ones. If not, each fold of the reference was held against the rest."""
    each: list[ClipScore]


def compare(clips: Sequence[Source], learned: Sequence[Source], held_out: Sequence[Source] = ()) -> Comparison:
    """Compare clips with recordings.

    Args:
        clips: at least one.
        learned: the recordings that are the reference.
        held_out: others, which are compared with the reference as the clips are. With none, the recordings of the
            reference are compared with each other: one after another with the rest or, if there are more than eight,
            an eighth of them at a time.

    Raises:
        UserError: clips or recordings are too short, too long, or silent, or there is nothing to compare a single
            recording with.
    """
    heard = _heard_clips(clips)
    folds = Folds(learned, len(learned))
    reference_set = folds.all
    _check_recordings(learned, reference_set)
    if not held_out and len(learned) < 2:
        raise UserError(
            learned[0].name, "is a single recording, with no other to compare it with", "give two recordings or more"
        )
    reference = Reference.of(reference_set.segments)
    copies = longest_copies(clips, learned)
    together = HeardSet()
    for one in heard:
        together.add(one)
    return Comparison(
        reference_count=reference_set.count,
        reference_seconds=reference_set.seconds,
        clips=_score(together, reference.distance(together.segments), copies),
        recordings=_score_held_out(held_out, learned, reference) if held_out else _score_folds(learned, folds),
        held_out=bool(held_out),
        each=[
            ClipScore(
                name=clip.name,
                seconds=one.seconds,
                distance=reference.distance(one.segments) if one.segments.count else None,
                harmonicity=one.harmonicity,
                stuck=one.stuck,
                onsets=one.onsets,
                centroid=one.centroid,
                level_db=one.level_db,
                copy=copied.longest,
                passage=copied.passage,
            )
            for clip, one, copied in zip(clips, heard, copies, strict=True)
        ],
    )


def _heard_clips(clips: Sequence[Source]) -> list[Heard]:
    heard, seconds = [], 0.0
    for clip in clips:
        heard.append(hear(clip))
        seconds += heard[-1].seconds
        if seconds > LONGEST_CLIPS:
            raise UserError(
                "the clips", f"are longer than {LONGEST_CLIPS / 3600:.0f} hours together", "compare fewer"
            )
    if not any(one.segments.count for one in heard):
        raise UserError("the clips", f"are shorter than {SEGMENT_SECONDS} seconds, each of them", "give a longer one")
    if all(one.level_db <= SILENT_DB for one in heard):
        raise UserError("the clips", "are all silent", "there is nothing to compare")
    return heard


def _check_recordings(recordings: Sequence[Source], together: HeardSet) -> None:
    name = recordings[0].name if len(recordings) == 1 else Argument("to")
    if together.segments.count < 2:
        raise UserError(name, "has less than two seconds of recordings", "give more, or longer ones")
    if together.means()["level_db"] <= SILENT_DB:
        raise UserError(name, "has only silent recordings", "there is nothing to compare with")


def _score(together: HeardSet, distance: float, copies: Sequence[Copied]) -> Score:
    seconds = [seconds_of(copied.longest) for copied in copies]
    return Score(
        count=together.count,
        seconds=together.seconds,
        distance=distance,
        **together.means(),
        longest_copy=max(seconds, default=0.0),
        median_copy=float(np.median(seconds)) if seconds else 0.0,
        longest_passage=max((seconds_of(copied.passage) for copied in copies), default=0.0),
    )


def _score_held_out(held_out: Sequence[Source], learned: Sequence[Source], reference: Reference) -> Score:
    folds = Folds(held_out, len(held_out))
    _check_held_out(folds)
    stretches = [stretch for _, _, stretch in spread_stretches(held_out, folds.seconds, COPY_STRETCHES)]
    distance = reference.distance(folds.all.segments)
    return _score(folds.all, distance, longest_copies(stretches, learned))


def _check_held_out(folds: Folds) -> None:
    if not folds.all.segments.count:
        raise UserError(
            Argument("to"), f"has held-out recordings shorter than {SEGMENT_SECONDS} seconds", "hold out more"
        )


def _score_folds(learned: Sequence[Source], folds: Folds) -> Score:
    distance = folds.distance()
    if distance is None:
        raise UserError(Argument("to"), "has recordings too short to compare with each other", "give longer ones")
    return _score(folds.all, distance, list(_copies_between(learned, folds)))


def _copies_between(learned: Sequence[Source], folds: Folds) -> Iterator[Copied]:
    """Yield the longest copies of recordings of other folds in each of some stretches."""
    stretches = [
        (folds.fold_of(i), stretch) for i, _, stretch in spread_stretches(learned, folds.seconds, COPY_STRETCHES)
    ]
    for fold, group in groupby(sorted(stretches, key=itemgetter(0)), itemgetter(0)):
        others = [recording for i, recording in enumerate(learned) if folds.fold_of(i) != fold]
        yield from longest_copies([stretch for _, stretch in group], others)
