"""Checks exported graphs against the PyTorch model they came from, by running both on the same uniforms.

The bundle generates; the model, in float64, then scores the whole result at once. If at every sample the model
would have drawn the code the bundle drew, from the same history and the same uniform, then by induction the two
generate identical audio.
"""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from slash_export.errors import ParityError
from slash_infer.bundle import Bundle, Parity
from slash_infer.engine import CpuEngine
from slash_infer.randomness import Uniforms
from slash_infer.sampler import Sampler
from slash_train.model import SampleRNN

SAMPLES = 1000  # at least, of each clip
CLIPS = (0, 1)
LOGIT_TOLERANCE = 1e-3  # float32 graphs differ by about 1e-5 from the float64 model
TIE = 1e-5  # a uniform this near to an edge of the cumulative distribution may round to either side
SEEDS = 10  # tried until one meets no tie


def check_parity(bundle: Bundle, model: SampleRNN) -> Parity:
    """Compare a bundle with its model: logits within tolerance, then identical codes.

    Args:
        bundle: the exported graphs.
        model: the trained model, on the CPU; left as it is.

    Returns:
        what was compared, for the manifest.

    Raises:
        ParityError: a logit or a code differs by more than rounding explains.
    """
    reference = copy.deepcopy(model).double()
    engine = _LogitEngine(bundle)
    for seed in range(SEEDS):
        parity = _compare(bundle, engine, reference, seed)
        if parity is not None:
            return parity
    raise ParityError(f"the graphs drew other codes than the model at a tie with each of {SEEDS} seeds")


def _compare(bundle: Bundle, engine: "_LogitEngine", reference: SampleRNN, seed: int) -> Parity | None:
    """Return the comparison under one seed, or None when rounding decided a tie differently."""
    hop = bundle.manifest.top_hop
    samples = -(-SAMPLES // hop) * hop
    engine.logits.clear()
    codes = Sampler(bundle, CLIPS, seed=seed, engine=engine).codes(samples)
    logits = np.concatenate(engine.logits, axis=1)  # [B, T, Q]
    expected = _reference_logits(reference, codes, bundle.manifest.codec.silence)
    difference = float(np.abs(logits - expected).max())
    if not difference <= LOGIT_TOLERANCE:
        raise ParityError(f"the graphs' logits differ from the model's by up to {difference:.2g}")
    uniform = Uniforms(seed, CLIPS).next(samples)
    lower, upper = _edges(expected, codes)
    outside = np.maximum(lower - uniform, uniform - upper)  # how far the uniform is off the code's interval
    if outside.max() > TIE:
        clip, t = np.unravel_index(np.argmax(outside), outside.shape)
        raise ParityError(f"the graphs drew another code than the model at sample {t} of clip {clip}")
    if outside.max() > 0:
        return None
    return Parity(samples=samples * len(CLIPS), max_logit_difference=difference)


def _reference_logits(reference: SampleRNN, codes: npt.NDArray[np.int32], silence: int) -> npt.NDArray[np.float64]:
    history = np.full((len(codes), reference.config.top_frame), silence)
    window = torch.from_numpy(np.concatenate([history, codes], axis=1).astype(np.int64))
    with torch.inference_mode():
        logits, _ = reference(window, reference.initial_state(len(codes)))
    return np.asarray(logits.numpy())


def _edges(
    logits: npt.NDArray[np.float64], codes: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where in [0, 1] each drawn code's interval of the cumulative distribution begins and ends."""
    likelihoods = np.exp(logits - logits.max(axis=-1, keepdims=True))
    cumulative = np.cumsum(likelihoods / likelihoods.sum(axis=-1, keepdims=True), axis=-1)
    padded = np.concatenate([np.zeros_like(cumulative[..., :1]), cumulative], axis=-1)
    chosen = codes[..., np.newaxis].astype(np.int64)
    lower = np.take_along_axis(padded, chosen, axis=-1)[..., 0]
    upper = np.take_along_axis(padded, chosen + 1, axis=-1)[..., 0]
    return lower, upper


class _LogitEngine(CpuEngine):
    """An engine that also keeps the logits behind every draw, read from inside the sample tier's graph."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        graph = onnx.load_from_string(bundle.read(bundle.manifest.sample_tier.graph))
        self._names = [f"logits_{i}" for i in range(bundle.manifest.frame_tiers[0].hop)]
        for name in self._names:
            graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        self._probe = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        self.logits: list[npt.NDArray[np.float32]] = []
        """One array [B, r, Q] per call."""

    def sample(self, history: Any, conditioning: Any, uniform: Any, temperature: Any) -> Any:
        feed = self._sample_feed(history, conditioning, uniform, temperature)
        self.logits.append(np.stack(self._probe.run(self._names, feed), axis=1))
        return super().sample(history, conditioning, uniform, temperature)
