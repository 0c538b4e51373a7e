"""Whether clips share longer stretches with the recordings that a model has learned from than with unseen ones.

    slash generate --out clips -n 32 --seed 0
    python benchmarks/copies.py corpus --clips clips --json benchmarks/results/copies_box.json

Two recordings of one instrument share notes, and even runs, without being copies of each other, so the length of the
longest copy in a clip (docs/measures.md) says little by itself. Here the clips are compared with the held-out
recordings, and with groups of as many training recordings. A model that has learned stretches by heart shares longer
ones with the latter. Passages, which go on from one note to the next, are copies that a held note does not explain.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated

import numpy as np
import typer

from slash_cli.compared_audio import clip_sources, recordings_to_compare
from slash_infer.audio.ear.copies import Copied, longest_copies, seconds_of
from slash_infer.audio.ear.source import RATE, Source
from slash_infer.files import check_file_output, write_json
from slash_infer.machine import describe_machine

LONG_SECONDS = 0.5


@dataclass(frozen=True)
class Shared:
    """What clips share with a group of recordings."""

    recordings: int
    seconds: float
    """Of the recordings together."""
    median: float
    """Seconds of the longest copy in each clip."""
    mean: float
    longest: float
    long_clips: int
    """Clips with a copy of LONG_SECONDS or more."""
    longest_passage: float
    long_passages: int
    """Clips with a passage of LONG_SECONDS or more."""


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with held-out splits.")],
    clips: Annotated[list[Path], typer.Option(help="Files or folders; may be repeated.")],
    json_file: Annotated[Path, typer.Option("--json", help="Where to write the result.")],
) -> None:
    """Compare what clips share with unseen recordings and with those that were learned."""
    check_file_output(json_file, force=True)
    learned, held_out = recordings_to_compare([corpus])
    heard = clip_sources(clips)
    order = np.random.default_rng(0).permutation(len(learned))
    groups = [order[first : first + len(held_out)] for first in range(0, len(learned), len(held_out))]
    of_unseen = _shared(held_out, longest_copies(heard, held_out))
    copied = [longest_copies(heard, [learned[i] for i in group]) for group in groups]
    of_learned = [
        _shared([learned[i] for i in group], found)
        for group, found in zip(groups, copied, strict=True)
        if len(group) == len(held_out)
    ]
    of_all = _shared(learned, [_longest(of_groups) for of_groups in zip(*copied, strict=True)])
    _print("unseen", [of_unseen])
    _print("learned", of_learned)
    _print("all learned", [of_all])
    content = {
        "machine": asdict(describe_machine()),
        "corpus": str(corpus),
        "clips": len(heard),
        "unseen": asdict(of_unseen),
        "learned": [asdict(one) for one in of_learned],
        "all_learned": asdict(of_all),
    }
    write_json(json_file, content, force=True)


def _longest(of_groups: Sequence[Copied]) -> Copied:
    """Return the longest copies in a clip, of those of every group."""
    return Copied(
        longest=max((one.longest for one in of_groups), key=seconds_of),
        passage=max((one.passage for one in of_groups), key=seconds_of),
    )


def _shared(recordings: Sequence[Source], copied: Sequence[Copied]) -> Shared:
    seconds = [seconds_of(one.longest) for one in copied]
    passages = [seconds_of(one.passage) for one in copied]
    return Shared(
        recordings=len(recordings),
        seconds=sum(len(block) for recording in recordings for block in recording.blocks()) / RATE,
        median=median(seconds),
        mean=mean(seconds),
        longest=max(seconds),
        long_clips=sum(one >= LONG_SECONDS for one in seconds),
        longest_passage=max(passages),
        long_passages=sum(one >= LONG_SECONDS for one in passages),
    )


def _print(name: str, groups: Sequence[Shared]) -> None:
    print(
        f"{name}: {len(groups)} x {groups[0].recordings} recordings; copies: median "
        f"{mean(one.median for one in groups):.2f} s, mean {mean(one.mean for one in groups):.2f} s, longest "
        f"{mean(one.longest for one in groups):.2f} s ({min(one.longest for one in groups):.2f} to "
        f"{max(one.longest for one in groups):.2f}); {LONG_SECONDS:g} s or more in "
        f"{mean(one.long_clips for one in groups):.1f} clips; longest passage "
        f"{mean(one.longest_passage for one in groups):.2f} s, {LONG_SECONDS:g} s or more in "
        f"{mean(one.long_passages for one in groups):.1f} clips"
    )


if __name__ == "__main__":
    typer.run(main)
