"""Tolerances of all comparisons, and how much is compared at a time."""

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Manifest

LOGIT_TOLERANCE = 1e-3  # for fp32; float32 graphs differ by about 1e-5 from a float64 model after little training
RELATIVE_TOLERANCE = 1e-5  # the same, relative to the largest logit, which reaches hundreds after long training
STEP_TOLERANCE = 1e-4  # for one step of a frame tier, relative to the largest value; float32 differs by about 1e-6
TIE = 1e-5  # a uniform this close to an edge of its interval may round to either side
ROUGH_TIE = 0.05  # the same for int8 and fp16, where rounding may depend on the size of the batch
MOST_BITS_LOST = 0.01  # bits per sample that another precision may lose against fp32
COMPARED = 2**22  # numbers compared at a time, logits or states, which bounds the memory
ROWS = 1024  # that a graph is given at a time, the largest batch of a TensorRT plan
LOOKED_UP = 2**24  # numbers of the sample tier's table that are added up at a time: 16 of width 1024 for 1024 rows


def logit_tolerance(logits: npt.NDArray[np.floating]) -> float:
    """Return the largest difference allowed between fp32's logits and these."""
    return max(LOGIT_TOLERANCE, RELATIVE_TOLERANCE * float(np.abs(logits).max()))


def step_tolerance(values: npt.NDArray[np.floating]) -> float:
    """Return the largest difference allowed between these outputs of one step of a frame tier and fp32's."""
    return STEP_TOLERANCE * max(1.0, float(np.abs(values).max()))


def compared_at_once(manifest: Manifest, clips: int) -> int:
    """Return how many samples of each clip to compare at a time, a multiple of the top tier's hop."""
    hop = manifest.top_hop
    return max(1, COMPARED // clips // manifest.codec.levels // hop) * hop


def stretches_at_once(manifest: Manifest, clips: int, length: int) -> int:
    """Return how many stretches of `length` samples to compare at a time, of each clip."""
    states = (
        length // tier.hop * tier.layers * len(tier.state_names) * manifest.width for tier in manifest.frame_tiers
    )
    seen = (length // tier.hop * tier.frame_size for tier in manifest.frame_tiers)
    histories = length * manifest.sample_tier.history
    rows = min(ROWS, COMPARED // max(length * manifest.codec.levels, histories, *states, *seen))
    return max(1, rows // clips)


def sample_tier_rows(manifest: Manifest) -> int:
    """Return how many rows the sample tier's first step is given at a time."""
    return max(1, min(ROWS, LOOKED_UP // (manifest.sample_tier.history * manifest.width)))
