"""What a training run has not learned from, to compare its clips with."""

from pathlib import Path

import numpy as np

from slash_cli.console import stderr
from slash_infer.errors import UserError
from slash_infer.gallery.find import Recording
from slash_train.choices import Split
from slash_train.corpus import Corpus
from slash_train.run_metadata import RunMetadata

SECONDS = 10.0
SPLITS: tuple[Split, ...] = ("test", "valid")
"""Tried in this order: validation has chosen the checkpoint."""


def held_out_recording(run: Path) -> Recording | None:
    """Return ten seconds from the middle of the longest held-out recording of a run's corpus.

    Returns:
        None, and a line on stderr that says why, if the corpus is gone, damaged or another; None if all of it is for
        training.
    """
    try:
        used = RunMetadata.read(run).corpus
        corpus = Corpus(Path(used.path))
    except UserError as error:
        stderr().print(f"no recording to compare the clips of {run} with: {error}")
        return None
    if corpus.fingerprint() != used.sha256:
        stderr().print(f"no recording to compare the clips of {run} with: {corpus.path} holds another corpus by now")
        return None
    for split in SPLITS:
        regions = corpus.regions(split)
        if regions:
            region = max(regions, key=lambda one: one.length)
            length = min(region.length, round(SECONDS * corpus.sample_rate))
            first = region.start + (region.length - length) // 2
            name = next(one.name for one in corpus.manifest.recordings if region in one.regions)
            return Recording(name, np.array(corpus.pcm[first : first + length]), corpus.sample_rate)
    return None
