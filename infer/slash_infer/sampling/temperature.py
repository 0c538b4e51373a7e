"""Sampling temperatures: what a clip's logits are divided by before each draw, constant or over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from slash_infer.arguments import as_number, is_several, passed
from slash_infer.errors import Argument, UserError

LOWEST, HIGHEST = 0.01, 100.0


@dataclass(frozen=True)
class TemperatureSchedule:
    """A temperature over time, linear between points and constant before the first and after the last.

    Attributes:
        points: (seconds of generated audio, temperature), in the order of time.

    Raises:
        UserError: a point is no pair of numbers, a temperature is out of range, or the times do not increase.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        try:
            pairs = [(time, value) for time, value in self.points]
        except (TypeError, ValueError):
            raise UserError(passed("points", self.points), "must be pairs of seconds and temperature") from None
        values = [as_number("temperature", value, LOWEST, HIGHEST) for _, value in pairs]
        times = [_seconds(time) for time, _ in pairs]
        object.__setattr__(self, "points", tuple(zip(times, values, strict=True)))
        if not times:
            raise UserError(passed("points", self.points), "must be pairs of seconds and temperature")
        if not all(time < math.inf for time in times) or any(np.diff(times) <= 0):
            raise UserError(
                Argument("temperature", self), "its times must be seconds from 0 on, each later than the one before"
            )

    @classmethod
    def constant(cls, temperature: float) -> Self:
        """Return a schedule that stays at one temperature.

        Raises:
            UserError: it is no number, or out of range.
        """
        return cls(((0.0, temperature),))

    def at(self, seconds: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return the temperature at each of `seconds`, any shape.

        Raises:
            UserError: `seconds` are not numbers, or one is NaN.
        """
        at = np.asarray(seconds)
        if at.dtype.kind not in "fiu" or np.isnan(at).any():
            raise UserError(passed("seconds", seconds), "must be numbers")
        times, values = zip(*self.points, strict=True)
        return np.asarray(np.interp(at, times, values), np.float32)

    def __str__(self) -> str:
        """Return text that `parse` reads back exactly."""
        return str(self.plain)

    @property
    def plain(self) -> float | str:
        """A number where the temperature is constant, otherwise text that `parse` reads."""
        if len(self.points) == 1 and self.points[0][0] == 0:
            return self.points[0][1]
        return ",".join(f"{time}:{value}" for time, value in self.points)


def _seconds(time: object) -> float:
    """Return a time, or infinity, which no point may have, for what is none."""
    try:
        return as_number("points", time, 0)
    except UserError:
        return math.inf


Temperature = float | TemperatureSchedule
"""Of one clip."""


def parse(text: str) -> list[TemperatureSchedule]:
    """Read one temperature, `0.9`; several, `0.8,0.9,1`; or one over time, `0:0.9,5:1.05` (SECONDS:TEMPERATURE).

    Raises:
        UserError: it is none of these, or out of range.
    """
    try:
        if ":" not in text:
            return [TemperatureSchedule.constant(float(part)) for part in text.split(",")]
        pairs = [part.split(":") for part in text.split(",")]
        return [TemperatureSchedule(tuple((float(time), float(value)) for time, value in pairs))]
    except ValueError:
        raise UserError(
            Argument("temperature", f"{text!r}"),
            f"must be a number from {LOWEST:g} to {HIGHEST:g}, several such as 0.9,1, or one over time such as "
            "0:0.9,5:1.05 (seconds:temperature)",
        ) from None


def schedules(temperature: Temperature | Sequence[Temperature], clips: int) -> list[TemperatureSchedule]:
    """Return one schedule for each of `clips` clips, from one for all or from one for each.

    Raises:
        UserError: there are more or fewer than clips, or one is out of range.
    """
    each = list(cast(Any, temperature)) if is_several(temperature) else [temperature] * clips
    if len(each) != clips:
        raise UserError(
            Argument("temperature"),
            f"{len(each)} temperatures for {clips} clips",
            "give one for all, or one for each",
        )
    return [
        one
        if isinstance(one, TemperatureSchedule)
        else TemperatureSchedule.constant(as_number("temperature", one, LOWEST, HIGHEST))
        for one in each
    ]
