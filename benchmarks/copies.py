"""Whether clips share longer stretches with the recordings that a model has learned from than with unseen ones.

    slash generate --out clips -n 32 --seed 0
    python benchmarks/copies.py corpus --clips clips --json benchmarks/results/copies_box.json

Two recordings of one instrument share notes, and even runs, without being copies of each other, so the length of the
longest copy in a clip (docs/measures.md) says little by itself. Here the clips are compared with the held-out
recordings, and with groups of as many training recordings. A model that has learned stretches by heart shares longer
ones with the latter.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated

import numpy as np
import typer

from slash_cli.compared_audio import clip_sources, recordings_to_compare
from slash_infer.audio.ear.copies import longest_copies
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
    of_unseen = _shared(heard, held_out)
    of_learned = [_shared(heard, [learned[i] for i in group]) for group in groups if len(group) == len(held_out)]
    _print("unseen", [of_unseen])
    _print("learned", of_learned)
    content = {
        "machine": asdict(describe_machine()),
        "corpus": str(corpus),
        "clips": len(heard),
        "unseen": asdict(of_unseen),
        "learned": [asdict(one) for one in of_learned],
    }
    write_json(json_file, content, force=True)


def _shared(clips: Sequence[Source], recordings: Sequence[Source]) -> Shared:
    seconds = [0.0 if copy is None else copy.seconds for copy in longest_copies(clips, recordings)]
    return Shared(
        recordings=len(recordings),
        seconds=sum(len(block) for recording in recordings for block in recording.blocks()) / RATE,
        median=median(seconds),
        mean=mean(seconds),
        longest=max(seconds),
        long_clips=sum(one >= LONG_SECONDS for one in seconds),
    )


def _print(name: str, groups: Sequence[Shared]) -> None:
    print(
        f"{name}: {len(groups)} x {groups[0].recordings} recordings; copies: median "
        f"{mean(one.median for one in groups):.2f} s, mean {mean(one.mean for one in groups):.2f} s, longest "
        f"{mean(one.longest for one in groups):.2f} s ({min(one.longest for one in groups):.2f} to "
        f"{max(one.longest for one in groups):.2f}); {LONG_SECONDS:g} s or more in "
        f"{mean(one.long_clips for one in groups):.1f} clips"
    )


if __name__ == "__main__":
    typer.run(main)
