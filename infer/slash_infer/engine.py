"""Runs a bundle's graphs on ONNX Runtime. The engine owns the RNN state; nothing else does."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from slash_infer.bundle import Bundle, FileEntry
from slash_infer.errors import UserError

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class CpuEngine:
    """Executes the tiers one step at a time on the CPU, carrying each frame tier's state between steps.

    Args:
        bundle: whose graphs to run. Sessions are made from the verified bytes.

    Raises:
        UserError: ONNX Runtime rejects a graph.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._frame_tiers = [_session(bundle, t.graph, "frame", t.frame_size) for t in manifest.frame_tiers]
        self._state_names = [tier.state_names for tier in manifest.frame_tiers]
        sample = manifest.sample_tier
        self._reads_history = sample.history > 0
        hop = manifest.frame_tiers[0].hop
        self._sample_tier = _session(bundle, sample.graph, "uniform", hop)
        self._initial = [bundle.initial_state(tier) for tier in manifest.frame_tiers]
        self._state: list[list[Float32]] = []

    def reset(self, batch: int) -> None:
        """Put `batch` clips at the learned initial state. Called before the first step."""
        self._state = [
            [np.repeat(part[:, np.newaxis], batch, axis=1) for part in initial] for initial in self._initial
        ]

    def step(self, k: int, frame: Int32, conditioning: Float32 | None) -> Float32:
        """Advance frame tier k by one step.

        Args:
            k: 1 for the lowest frame tier.
            frame: the last FS(k) codes, [B, FS(k)].
            conditioning: [B, D] from the tier above; None for the top tier.

        Returns:
            conditioning for the tier below, [B, r, D]; where that is a sample tier without history, logits
            [B, r, Q].
        """
        state = zip(self._state_names[k - 1], self._state[k - 1], strict=True)
        feed: dict[str, npt.NDArray[Any]] = {"frame": frame, **dict(state)}
        if conditioning is not None:
            feed["conditioning"] = conditioning
        conditioning_out, *self._state[k - 1] = self._frame_tiers[k - 1].run(None, feed)
        return np.asarray(conditioning_out, np.float32)

    def sample(
        self, history: Int32, conditioning: Float32, uniform: Float32, temperature: Float32
    ) -> tuple[Int32, Float32]:
        """Draw the samples of one step of the lowest frame tier, r of them.

        Args:
            history: the last FS codes, [B, FS].
            conditioning: [B, r, D] from the lowest frame tier.
            uniform: [B, r], one draw per sample.
            temperature: [B]; logits are divided by it.

        Returns:
            codes [B, r], and each one's negative log-likelihood in nats at that temperature [B, r].
        """
        codes, nll = self._sample_tier.run(None, self._sample_feed(history, conditioning, uniform, temperature))
        return np.asarray(codes, np.int32), np.asarray(nll, np.float32)

    def _sample_feed(
        self, history: Int32, conditioning: Float32, uniform: Float32, temperature: Float32
    ) -> dict[str, npt.NDArray[Any]]:
        """The sample tier's inputs by name."""
        feed: dict[str, npt.NDArray[Any]] = {
            "conditioning": conditioning,
            "uniform": uniform,
            "temperature": temperature,
        }
        return {**feed, "history": history} if self._reads_history else feed


def _session(bundle: Bundle, graph: FileEntry, checked_input: str, width: int) -> ort.InferenceSession:
    """Open a graph and check that one of its inputs is as wide as the manifest says."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # frames are too short for threads to pay for their hand-over
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    try:
        session = ort.InferenceSession(bundle.read(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = str(error).splitlines()[0]
        raise UserError(f"{bundle.path / graph.file}: ONNX Runtime cannot load it ({reason})") from error
    widths = {value.name: value.shape[-1] for value in session.get_inputs()}
    if widths.get(checked_input) != width:
        raise UserError(f"{bundle.path / graph.file}: does not fit the manifest; export the bundle again")
    return session
