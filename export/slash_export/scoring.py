"""Scores a bundle on audio: how likely its graphs find samples that they did not draw themselves."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx.utils import Extractor

from slash_infer.bundle import Bundle
from slash_infer.engine import CpuEngine
from slash_train.streams import NO_TARGET, Window


class BundleScorer:
    """A `slash_train.evaluate.Scorer` that runs a bundle's graphs on ONNX Runtime.

    The sample tier's graph draws a whole frame at once, each sample after those it drew itself. Its first step
    alone, cut out of it, sees nothing but its inputs: that step is run for every sample of the audio.

    Args:
        bundle: what to score.

    Raises:
        UserError: ONNX Runtime rejects a graph.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self.codec = bundle.manifest.codec
        self.top_frame, self.top_hop = bundle.manifest.top_frame, bundle.manifest.top_hop
        self._engine = CpuEngine(bundle)
        self._reads_history = bundle.manifest.sample_tier.history > 0
        if self._reads_history:
            graph = onnx.load_from_string(bundle.read(bundle.manifest.sample_tier.graph))
            one_step = _first_step(graph)
            self._one_step = ort.InferenceSession(one_step.SerializeToString(), providers=["CPUExecutionProvider"])

    def nats(self, window: Window) -> npt.NDArray[np.float64]:
        """As `Scorer` says."""
        codes = window.codes.astype(np.int32)
        if window.starting.all():
            self._engine.reset(len(codes))
        length = window.targets.shape[1]
        hops = range(self.top_frame, self.top_frame + length, self.top_hop)
        made = np.concatenate([self._run(len(self._manifest.frame_tiers), None, codes, at) for at in hops], axis=1)
        logits = self._logits(codes, made)
        logits -= logits.max(axis=-1, keepdims=True)
        log_likelihoods = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        counted = window.targets != NO_TARGET
        targets = np.where(counted, window.targets, 0)
        chosen = np.take_along_axis(log_likelihoods, targets[..., np.newaxis], axis=-1)[..., 0]
        return np.asarray(-(chosen * counted).sum(axis=1))

    def _run(
        self, k: int, conditioning: npt.NDArray[np.float32] | None, codes: npt.NDArray[np.int32], at: int
    ) -> npt.NDArray[np.float32]:
        """Step tier k before sample `at`, and those below it; return what conditions the samples, [B, hop, D]."""
        tier = self._manifest.frame_tiers[k - 1]
        below = self._engine.step(k, codes[:, at - tier.frame_size : at], conditioning)
        if k == 1:
            return below
        hop = self._manifest.frame_tiers[k - 2].hop
        return np.concatenate(
            [self._run(k - 1, below[:, i], codes, at + i * hop) for i in range(tier.upsampling)], axis=1
        )

    def _logits(self, codes: npt.NDArray[np.int32], conditioning: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the logits [B, T, Q] of every sample from the codes before it."""
        if not self._reads_history:
            return conditioning.astype(np.float64)
        batch, length, width = conditioning.shape
        steps = self._manifest.sample_tier.history
        histories = np.lib.stride_tricks.sliding_window_view(codes[:, self.top_frame - steps : -1], steps, axis=1)
        feed = {"history": histories.reshape(-1, steps), "conditioning_0": conditioning.reshape(-1, width)}
        (logits,) = self._one_step.run(["logits_0"], feed)
        return np.asarray(logits, np.float64).reshape(batch, length, -1)


def _first_step(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Cut the first step out of a sample tier's graph: its history and its one vector of conditioning to logits."""
    for name in ("conditioning_0", "logits_0"):
        graph.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None]))
    return Extractor(graph).extract_model(["history", "conditioning_0"], ["logits_0"])
