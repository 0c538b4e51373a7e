"""Assigns recordings to the training, validation and test splits: whole files where there are enough of them."""

from collections.abc import Sequence
from itertools import accumulate

from slash_train.choices import Split
from slash_train.corpus import SPLITS, Region


def divide(names: Sequence[str], lengths: Sequence[int], valid: float, test: float) -> list[list[Region]]:
    """Assign every recording, or parts of it, to splits.

    Whole files are assigned if there is at least one for each split. With fewer files, each is cut by time: the
    beginning is for training, the end for testing.

    Args:
        names: names of the recordings. They break ties: the result does not depend on the order of the files.
        lengths: lengths in samples. In the corpus the recordings follow one another.
        valid: fraction of all samples for validation, 0 for none.
        test: fraction of all samples for testing, 0 for none.

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
    """Assign each file, the longest first, to the split furthest below its share; leave no split empty."""
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
    """Cut one recording into consecutive regions; a split whose part rounds to zero samples gets none."""
    valid, test = (int(length * shares[split]) for split in ("valid", "test"))
    regions = []
    for split, part in (("train", length - valid - test), ("valid", valid), ("test", test)):
        if part:
            regions.append(Region(split=split, start=start, length=part))
            start += part
    return regions
