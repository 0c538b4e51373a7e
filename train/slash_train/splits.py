"""Divides recordings into training, validation and test splits: by file where there are enough files."""

from collections.abc import Sequence
from itertools import accumulate

from slash_train.corpus import SPLITS, Region, Split


def divide(names: Sequence[str], lengths: Sequence[int], valid: float, test: float) -> list[list[Region]]:
    """Assign every recording, or parts of it, to splits.

    Whole files are assigned when there is at least one for each split that is wanted. With fewer files
    each is cut by time: its beginning trains, its end tests.

    Args:
        names: the recordings' names, which break ties so that the division never depends on file order.
        lengths: their lengths in samples, laid one after another in the corpus.
        valid: fraction of the whole for validation, 0 for none.
        test: fraction of the whole for testing, 0 for none.

    Returns:
        the regions of each recording, in order.
    """
    shares: dict[Split, float] = {"train": 1.0 - valid - test, "valid": valid, "test": test}
    wanted = [split for split in SPLITS if shares[split] > 0]
    starts = list(accumulate(lengths, initial=0))[:-1]
    if len(names) < len(wanted):
        return [_cut(start, length, shares) for start, length in zip(starts, lengths, strict=True)]
    assigned = _assign(names, lengths, shares, wanted)
    return [[Region(split=assigned[i], start=starts[i], length=lengths[i])] for i in range(len(names))]


def _assign(
    names: Sequence[str], lengths: Sequence[int], shares: dict[Split, float], wanted: list[Split]
) -> list[Split]:
    """Give each file, the longest first, to the split that is furthest below its share."""
    missing = {split: shares[split] * sum(lengths) for split in wanted}
    empty = set(wanted)
    assigned: list[Split] = ["train"] * len(names)
    order = sorted(range(len(names)), key=lambda i: (-lengths[i], names[i]))
    for position, i in enumerate(order):
        must_fill = len(order) - position <= len(empty)
        split = max((s for s in wanted if not must_fill or s in empty), key=lambda s: missing[s])
        assigned[i] = split
        missing[split] -= lengths[i]
        empty.discard(split)
    return assigned


def _cut(start: int, length: int, shares: dict[Split, float]) -> list[Region]:
    """Cut one recording into consecutive regions; a split whose part rounds to nothing gets none."""
    valid, test = (int(length * shares[split]) for split in ("valid", "test"))
    regions = []
    for split, part in (("train", length - valid - test), ("valid", valid), ("test", test)):
        if part:
            regions.append(Region(split=split, start=start, length=part))
            start += part
    return regions
