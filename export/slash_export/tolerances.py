"""How much may differ, and how much is compared at once."""

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Manifest

LOGIT_TOLERANCE = 1e-3  # of fp32; float32 graphs differ by about 1e-5 from a float64 model that has learned little
RELATIVE_TOLERANCE = 1e-5  # the same of the largest: logits of a model trained for long reach hundreds below zero
TIE = 1e-5  # a uniform this near to an edge of the cumulative distribution may round to either side
ROUGH_TIE = 0.05  # the same in int8 and fp16, where a batch of another size may be rounded otherwise
MOST_BITS_LOST = 0.01  # per sample, of other precisions against fp32
COMPARED = 2**22  # logits at once, which bounds the memory


def logit_tolerance(logits: npt.NDArray[np.floating]) -> float:
    """Return by how much fp32's logits may differ from these."""
    return max(LOGIT_TOLERANCE, RELATIVE_TOLERANCE * float(np.abs(logits).max()))


def compared_at_once(manifest: Manifest, clips: int) -> int:
    """Return how many samples of each clip to compare at once, whole steps of the top tier."""
    hop = manifest.top_hop
    return max(1, COMPARED // clips // manifest.codec.levels // hop) * hop
