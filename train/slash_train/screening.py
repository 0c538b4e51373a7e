"""Refuses recordings that nobody can mean to train on, and says what is odd about others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slash_infer.errors import UserError
from slash_train.measurement import SILENCE, Measurement

SMALLEST_OFFSET = 0.001  # of full scale: -60 dB
OFFSET_REFUSED, OFFSET_SAID = 0.25, 0.05  # of the level of the sound above it
CANCELLED = 1e-10  # power of channels below which they are silent
CANCELLING_REFUSED, CANCELLING_SAID = 30.0, 12.0  # dB
FEWEST_STEPS = 8  # of 16 bits, that the usual level of a recording must have in the corpus


def check(path: Path, measured: Measurement, *, remove_dc: bool) -> None:
    """Check one recording.

    Args:
        path: for messages.
        measured: as the recording is, before an offset is removed.
        remove_dc: whether one is.

    Raises:
        UserError: its channels cancel each other, or an offset is louder than its sound.
    """
    if _cancelling(measured) > CANCELLING_REFUSED:
        raise UserError(
            path,
            f"its channels cancel each other when they are mixed (by {_cancelling(measured):.0f} dB)",
            "take one with `channel` left",
        )
    if not remove_dc and _has_offset(measured, OFFSET_REFUSED):
        raise UserError(
            path,
            f"has an offset from zero of {measured.offset:.3f} under sound of {measured.level:.3f}",
            "pass `remove_dc`",
        )


def remarks(measured: Measurement) -> list[str]:
    """Return what is odd about one recording, as it is."""
    said = list(measured.stats.remarks)
    if measured.peak < SILENCE:
        said.append("silent")
    if _has_offset(measured, OFFSET_SAID):
        said.append(f"offset from zero of {measured.offset:.3f}")
    if _cancelling(measured) > CANCELLING_SAID:
        said.append(f"channels cancel each other by {_cancelling(measured):.0f} dB")
    return said


def drowned(measured: Sequence[Measurement], gain: float) -> list[int]:
    """Return which recordings would keep too few steps of 16 bits under a gain, though they are not silent."""
    least = FEWEST_STEPS / 32768
    return [i for i, m in enumerate(measured) if m.usual_level >= SILENCE and m.usual_level * gain < least]


def check_loudest(path: Path, peak: float, quiet: Sequence[Path]) -> None:
    """Check that the loudest recording leaves room for the others.

    Args:
        path: the loudest.
        peak: its peak; 1 is full scale.
        quiet: those that would be lost under it.

    Raises:
        UserError: it does not.
    """
    if not quiet:
        return
    others = [other.name for other in quiet if other != path]
    names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    lost = names or "the rest of it"
    raise UserError(
        path,
        f"has a peak of {peak:,.0f} times full scale, under which {lost} would be lost in 16 bits",
        "lower or remove it",
    )


def _has_offset(measured: Measurement, share: float) -> bool:
    return measured.offset > max(SMALLEST_OFFSET, share * measured.level)


def _cancelling(measured: Measurement) -> float:
    """Return by how many dB the channels are louder than their mix."""
    stats = measured.stats
    if stats.channel_power < CANCELLED:
        return 0.0
    return float(10 * np.log10(stats.channel_power / max(stats.mixed_power, 1e-30)))
