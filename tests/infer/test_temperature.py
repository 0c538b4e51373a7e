"""Temperatures: constant, several, and over time."""

import numpy as np
import pytest

from slash_infer.errors import UserError
from slash_infer.sampling.temperature import TemperatureSchedule, parse, schedules


def test_numbers_several_and_schedules_are_read() -> None:
    assert parse("0.9") == [TemperatureSchedule.constant(0.9)]
    assert parse("0.8,1") == [TemperatureSchedule.constant(0.8), TemperatureSchedule.constant(1.0)]
    assert parse("0:0.9,5:1.05") == [TemperatureSchedule(((0.0, 0.9), (5.0, 1.05)))]


def test_a_schedule_moves_in_straight_lines_and_stays_at_its_ends() -> None:
    (schedule,) = parse("1:0.5,3:1.5")
    assert np.allclose(schedule.at(np.array([0.0, 1.0, 1.5, 2.0, 3.0, 100.0])), [0.5, 0.5, 0.75, 1.0, 1.5, 1.5])


@pytest.mark.parametrize("text", ["0.9", "1.0", "0.123456789", "0.0:0.9,5.25:1.05"])
def test_what_is_written_reads_the_same(text: str) -> None:
    assert str(parse(text)[0]) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("warm", "must be a number from 0.01 to 100"),
        ("", "must be a number from 0.01 to 100"),
        ("1,", "must be a number from 0.01 to 100"),
        ("0:1:2", "must be a number from 0.01 to 100"),
        ("0", "must be from 0.01 to 100"),
        ("-1", "must be from 0.01 to 100"),
        ("nan", "must be from 0.01 to 100"),
        ("inf", "must be from 0.01 to 100"),
        ("1,101", "must be from 0.01 to 100"),
        ("0:1,0:2", "each later"),
        ("5:1,0:2", "each later"),
        ("-1:1", "seconds from 0 on"),
        ("0:1,inf:2", "seconds from 0 on"),
        ("nan:1", "seconds from 0 on"),
    ],
)
def test_others_are_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse(text)


def test_one_for_all_or_one_for_each() -> None:
    assert schedules(0.5, 2) == [TemperatureSchedule.constant(0.5)] * 2
    assert schedules([0.5, TemperatureSchedule.constant(1)], 2) == [
        TemperatureSchedule.constant(0.5),
        TemperatureSchedule.constant(1),
    ]
    with pytest.raises(UserError, match="1 temperatures for 2 clips"):
        schedules([0.5], 2)
