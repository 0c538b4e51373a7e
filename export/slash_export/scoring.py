"""Scores a bundle on audio: the likelihood that its graphs give to recorded samples."""

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_export.teacher_forcing import TeacherForced, log_softmax
from slash_infer.bundle import Bundle
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train.evaluate import Scorer
from slash_train.streams import NO_TARGET, Window


class BundleScorer(Scorer):
    """Scores audio with the graphs of a bundle.

    Args:
        bundle: the bundle.
        engine: an engine that runs the bundle; fp32 on the CPU if not given.

    Raises:
        UserError: the runtime rejects a graph.
    """

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        self.codec = bundle.manifest.codec
        self.context, self.top_hop = bundle.manifest.context, bundle.manifest.top_hop
        self._forced = TeacherForced(bundle, engine or Engine(bundle, OnnxCpu()))

    @override
    def nll(self, window: Window) -> npt.NDArray[np.float64]:
        return target_nll(log_softmax(self.logits(window)), window)

    def logits(self, window: Window) -> npt.NDArray[np.float32]:
        """Return the logits [B, T, Q] of a window's targets. Windows continue each other as for `Scorer.nll`."""
        codes = window.codes.astype(np.int32)
        if window.starting.all():
            self._forced.start(len(codes))
        return self._forced.logits(codes)


def target_nll(log_likelihoods: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """Return the negative log-likelihood in nats of each lane's targets, summed over the window.

    Args:
        log_likelihoods: [B, T, Q], of all codes.
        window: the window.

    Returns:
        [B].
    """
    counted = window.targets != NO_TARGET
    targets = np.where(counted, window.targets, 0)
    chosen = np.take_along_axis(log_likelihoods, targets[..., np.newaxis], axis=-1)[..., 0]
    return np.asarray(-(chosen * counted).sum(axis=1))
