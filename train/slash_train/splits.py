"""Assigns recordings to the training, validation and test splits: whole files where there are enough of them."""

from collections.abc import Sequence
from itertools import accumulate

from slash_train.choices import Split
from slash_train.corpus import SPLITS, Region


def divide(
    names: Sequence[str],
    lengths: Sequence[int],
    valid: float,
    test: float,
    contents: Sequence[str] | None = None,
) -> list[list[Region]]:
    """Assign every recording, or parts of it, to splits.

    Whole files are assigned if there is at least one for each split; files with the same content go to the same one.
    With fewer files, each is cut by time: the beginning is for training, the end for testing.

    Args:
        names: names of the recordings. They break ties: the result does not depend on the order of the files.
        lengths: lengths in samples. In the corpus the recordings follow one another.
        valid: fraction of all samples for validation, 0 for none.
        test: fraction of all samples for testing, 0 for none.
        contents: what each holds, equal for copies; all differ if not given. Copies have the same length.

    Returns:
        the regions of each recording, in order.
    """
    shares: dict[Split, float] = {"train": 1.0 - valid - test, "valid": valid, "test": test}
    wanted = [split for split in SPLITS if shares[split] > 0]
    starts = list(accumulate(lengths, initial=0))[:-1]
    copies: dict[str, list[int]] = {}
    for i, content in enumerate(contents if contents is not None else map(str, range(len(names)))):
        copies.setdefault(content, []).append(i)
    groups = list(copies.values())
    if len(groups) < len(wanted):
        return [_cut(start, length, shares) for start, length in zip(starts, lengths, strict=True)]
    assigned = _assign(
        [min(names[i] for i in group) for group in groups],
        [sum(lengths[i] for i in group) for group in groups],
        shares,
        wanted,
    )
    split_of = {i: split for group, split in zip(groups, assigned, strict=True) for i in group}
    return [[Region(split=split_of[i], start=starts[i], length=lengths[i])] for i in range(len(names))]


def _assign(
    names: Sequence[str], lengths: Sequence[int], shares: dict[Split, float], wanted: list[Split]
) -> list[Split]:
    """Assign each group of copies, the longest first, to the split furthest below its share; leave no split empty."""
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
