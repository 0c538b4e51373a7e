"""Scores a bundle on audio: how likely its graphs find samples that they did not draw themselves."""

import numpy as np
import numpy.typing as npt

from slash_export.teacher_forcing import TeacherForced, log_softmax
from slash_infer.bundle import Bundle
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.streams import NO_TARGET, Window


class BundleScorer:
    """A `slash_train.evaluate.Scorer` that runs a bundle's graphs.

    Args:
        bundle: what to score.
        engine: the bundle's; its fp32 graphs on the CPU when not given.

    Raises:
        UserError: the runtime rejects a graph.
    """

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        self.codec = bundle.manifest.codec
        self.top_frame, self.top_hop = bundle.manifest.top_frame, bundle.manifest.top_hop
        self._forced = TeacherForced(bundle, engine or Engine(bundle, OnnxCpu()))

    def nats(self, window: Window) -> npt.NDArray[np.float64]:
        """As `Scorer` says."""
        return target_nats(log_softmax(self.logits(window)), window)

    def logits(self, window: Window) -> npt.NDArray[np.float32]:
        """Return the logits [B, T, Q] of a window's targets; windows follow one another as `Scorer` says."""
        codes = window.codes.astype(np.int32)
        if window.starting.all():
            self._forced.start(len(codes))
        return self._forced.logits(codes)


def target_nats(log_likelihoods: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """Return the negative log-likelihoods of a window's targets summed per lane, [B], from those of all codes."""
    counted = window.targets != NO_TARGET
    targets = np.where(counted, window.targets, 0)
    chosen = np.take_along_axis(log_likelihoods, targets[..., np.newaxis], axis=-1)[..., 0]
    return np.asarray(-(chosen * counted).sum(axis=1))
