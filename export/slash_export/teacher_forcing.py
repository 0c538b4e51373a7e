"""Runs a bundle's graphs over given audio, for the logits at every sample of it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.utils import Extractor

from slash_export.tolerances import sample_tier_rows
from slash_infer.bundle import Bundle
from slash_infer.errors import UserError
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.host_graph import HostGraph
from slash_infer.sampling.engine import Engine

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


class TeacherForced:
    """A bundle on a runtime that is fed given codes instead of its own draws.

    The sample tier's graph draws a whole frame per call, each code given its own earlier draws. Only its first step
    depends on nothing but the inputs: that step is cut out of the graph and run for every sample of the audio.

    Args:
        bundle: the bundle.
        engine: an engine that runs its graphs.

    Raises:
        UserError: the engine's runtime rejects the first step, or it has logits of other codes than the codec.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.engine = engine
        self._manifest = bundle.manifest
        model = engine.model
        if not isinstance(model, GraphModel):
            raise TypeError(f"the engine {engine.runtime.name} has no graphs to look into")
        self._frame_tiers = [HostGraph(model.runtime, graph) for graph in model.graphs.frame_tiers]
        self.rnn_states: list[dict[str, Float32]] = []
        """The RNN states of the clips, as in a `GenerationState`."""
        self._one_step: HostGraph[Any] | None = None
        if bundle.manifest.sample_tier.history:
            entry = bundle.variant(engine.precision).sample_tier
            whole = onnx.load_from_string(bundle.read(entry))
            cut = _first_step(whole, bundle.manifest.width, bundle.manifest.codec.levels)
            name = f"the first step of {entry.file}"
            graph = model.runtime.load(cut.SerializeToString(), name, bundle.manifest.width)
            codes, levels = graph.outputs["logits_0"].shape[-1], bundle.manifest.codec.levels
            if codes != levels:
                fault = f"has logits of {codes} codes, and the manifest's codec has {levels}"
                raise UserError(bundle.path / entry.file, fault, "export the bundle again")
            self._one_step = HostGraph(model.runtime, graph)

    def start(self, clips: int) -> None:
        """Start `clips` new clips, from the learned initial state."""
        self.resume(self.engine.initial_state(clips))

    def resume(self, state: GenerationState) -> None:
        """Go on from the RNN states of another batch of clips."""
        self.rnn_states = list(state.rnn_states)

    def logits(self, codes: Int32) -> Float32:
        """Continue over the next T samples.

        Args:
            codes: [B, C + T], the context and then T codes. T is a multiple of the top tier's hop.

        Returns:
            logits [B, T, Q] of the last T codes, each given the codes before it.
        """
        context = self._manifest.context
        hops = range(context, codes.shape[1], self._manifest.top_hop)
        conditioning = np.concatenate(
            [self._run(len(self._manifest.frame_tiers), None, codes, at) for at in hops], axis=1
        )
        if self._one_step is None:
            return conditioning
        batch, length, width = conditioning.shape
        seen = self._manifest.sample_tier.history
        histories = np.lib.stride_tricks.sliding_window_view(codes[:, context - seen : -1], seen, axis=1)
        flat, at_once, logits = conditioning.reshape(-1, width), sample_tier_rows(self._manifest), []
        for first in range(0, batch * length, at_once):
            rows = np.arange(first, min(first + at_once, batch * length))
            feed = {"history": histories[rows // length, rows % length], "conditioning_0": flat[rows]}
            logits.append(self._one_step(feed)["logits_0"])
        return np.concatenate(logits).reshape(batch, length, -1)

    def step(self, k: int, frame: Int32, conditioning: Float32 | None) -> Float32:
        """Do one step of tier k.

        Args:
            k: the tier, from 1.
            frame: [B, FS(k)] codes.
            conditioning: [B, D]; None for the top tier.

        Returns:
            the conditioning of the tier below, [B, r, D], or the logits where there is no sample tier, [B, r, Q].
        """
        state = self.rnn_states[k - 1]
        feed: dict[str, npt.NDArray[Any]] = {"frame": frame, **state}
        if conditioning is not None:
            feed["conditioning"] = conditioning
        outputs = self._frame_tiers[k - 1](feed)
        self.rnn_states[k - 1] = {name: outputs[f"{name}_out"] for name in state}
        return outputs["conditioning_out"]

    def _run(self, k: int, conditioning: Float32 | None, codes: Int32, at: int) -> Float32:
        """Step tier k in front of sample `at`, and the tiers below; return the samples' conditioning, [B, hop, D]."""
        tier = self._manifest.frame_tiers[k - 1]
        below = self.step(k, codes[:, at - tier.frame_size : at], conditioning)
        if k == 1:
            return below
        hop = self._manifest.frame_tiers[k - 2].hop
        return np.concatenate(
            [self._run(k - 1, below[:, i], codes, at + i * hop) for i in range(tier.upsampling)], axis=1
        )


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return log-likelihoods over the last axis, in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def divergences(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the Kullback-Leibler divergences KL(p, q) in nats, from log-likelihoods over the last axis."""
    return np.asarray((np.exp(p) * (p - q)).sum(axis=-1))


def distance_outside(
    logits: npt.NDArray[np.floating], codes: Int32, uniform: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return how far each uniform is outside the interval that its code has in the cumulative distribution.

    Args:
        logits: [B, T, Q].
        codes: [B, T], drawn by inverting the cumulative distribution.
        uniform: [B, T], the uniforms that they were drawn with.

    Returns:
        distances, [B, T]; 0 or less is inside.
    """
    cumulative = np.cumsum(np.exp(log_softmax(logits)), axis=-1)
    padded = np.concatenate([np.zeros_like(cumulative[..., :1]), cumulative], axis=-1)
    chosen = codes[..., np.newaxis].astype(np.int64)
    lower = np.take_along_axis(padded, chosen, axis=-1)[..., 0]
    upper = np.take_along_axis(padded, chosen + 1, axis=-1)[..., 0]
    return np.asarray(np.maximum(lower - uniform, uniform - upper))


def _first_step(graph: onnx.ModelProto, width: int, levels: int) -> onnx.ModelProto:
    """Return the first step of a sample tier's graph: from the history and one conditioning vector to logits."""
    named = onnx.helper.make_tensor_value_info
    for name, size in (("conditioning_0", width), ("logits_0", levels)):
        graph.graph.value_info.append(named(name, onnx.TensorProto.FLOAT, ["batch", size]))
    return Extractor(graph).extract_model(["history", "conditioning_0"], ["logits_0"])
