"""The values of the recordings that a model has learned from: what its clips are held against."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slash_infer.audio.ear.folds import Folds
from slash_infer.audio.ear.hearing import Heard, hear
from slash_infer.audio.ear.reference import COMPONENTS, Reference
from slash_infer.audio.ear.segments import NUMBERS
from slash_infer.audio.ear.source import Float64, Source
from slash_infer.audio.ear.stretches import spread_stretches

MOST_STRETCHES = 128
"""Of ten seconds, the usual length of a clip, as whose measures vary those of clips may."""
LEAST = {"harmonicity": 0.02, "movement_db": 0.5, "onsets": 0.5, "centroid": 100.0, "distance": 1.0}
"""Smallest spread of each measure: a few stretches may be alike by chance."""

Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Numbers = Annotated[tuple[Number, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Strict):
    """How a measure varies over stretches of recordings."""

    mean: Number
    deviation: Positive
    """Standard deviation, or the least that counts."""

    def square(self, value: float) -> float:
        """Return the squared number of standard deviations from the mean to a value."""
        return ((value - self.mean) / self.deviation) ** 2


class Spreads(_Strict):
    """How the measures vary over stretches of ten seconds."""

    harmonicity: Spread
    movement_db: Spread
    onsets: Spread
    centroid: Spread
    distance: Spread
    """Of each stretch by itself, from the recordings of other folds (`Folds`)."""


class Recordings(_Strict):
    """What was heard in recordings. Means are over recordings, each as a whole."""

    count: Annotated[int, Field(ge=1)]
    seconds: Positive
    harmonicity: Number
    stuck: Number
    onsets: Number
    centroid: Number
    level_db: Number
    distance: NotNegative | None
    """Of recordings from other recordings, fold by fold; None for a single one."""
    stretches: Annotated[int, Field(ge=1)]
    """That `spreads` was measured on."""
    spreads: Spreads
    mean: Numbers
    scale: Annotated[tuple[Positive, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]
    components: Annotated[tuple[Numbers, ...], Field(min_length=1, max_length=COMPONENTS)]
    variances: Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=COMPONENTS)]
    """These four are the `Reference`, rounded to seven digits."""

    @model_validator(mode="after")
    def _a_variance_for_each_component(self) -> Self:
        if len(self.variances) != len(self.components):
            raise ValueError("there must be as many variances as components")
        return self

    @cached_property
    def reference(self) -> Reference:
        """The distribution of the recordings' segments."""
        return Reference(*map(np.array, (self.mean, self.scale, self.components, self.variances)))

    def nearness(self, heard: Heard) -> float:
        """Return how near a clip is to the recordings: 1 if it is just as they are on average, towards 0 far away.

        It is the geometric mean of 1 / (1 + z^2) over harmonicity, movement, onsets, centroid and distance, with z
        the number of standard deviations to the mean of the recordings' stretches. Stretches themselves have about
        0.6. A clip that is too short for a distance has the mean over its other measures.
        """
        values = {name: getattr(heard, name) for name in LEAST if name != "distance"}
        if heard.segments.count:
            values["distance"] = self.reference.distance(heard.segments)
        squares = np.array([getattr(self.spreads, name).square(value) for name, value in values.items()])
        return float(np.exp(-np.log1p(squares).mean()))


def measure_recordings(recordings: Sequence[Source]) -> Recordings | None:
    """Listen to recordings.

    Each is read three times, block by block: memory hardly grows with their length.

    Returns:
        what was heard; None if there is too little: all together less than two segments.
    """
    folds = Folds(recordings, len(recordings))
    everything = folds.all
    if everything.segments.count < 2:
        return None
    reference = Reference.of(everything.segments)
    stretches = _stretches(recordings, folds)
    return Recordings(
        count=everything.count,
        seconds=everything.seconds,
        **everything.means(),
        distance=folds.distance(),
        stretches=len(stretches),
        spreads=Spreads(
            **{
                name: _spread(values, least)
                for (name, least), values in zip(LEAST.items(), zip(*stretches, strict=True), strict=True)
            }
        ),
        mean=_rounded(reference.mean),
        scale=_rounded(reference.scale),
        components=tuple(map(_rounded, reference.components)),
        variances=_rounded(reference.variances),
    )


def _stretches(recordings: Sequence[Source], folds: Folds) -> list[tuple[float, ...]]:
    """Return what is heard in stretches of the recordings, each by itself, in the order of LEAST."""
    measured: list[tuple[float, ...]] = []
    for i, _, stretch in spread_stretches(recordings, folds.seconds, MOST_STRETCHES):
        reference = folds.reference_without(i) or Reference.of(folds.all.segments)
        heard = hear(stretch)
        distance = reference.distance(heard.segments)
        measured.append((heard.harmonicity, heard.movement_db, heard.onsets, heard.centroid, distance))
    return measured


def _spread(values: Sequence[float], least: float) -> Spread:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(mean=float(np.mean(values)), deviation=max(least, deviation))


def _rounded(values: Float64) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values)
