"""Folded models with random weights in the shapes of the presets, and what they compute."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer[Any]]


@dataclass
class Layer:
    """A recurrent layer, as `slash_export.folding` makes it."""

    input_weight: Float32
    hidden_weight: Float32
    input_bias: Float32
    hidden_bias: Float32


@dataclass
class FrameTier:
    """A folded frame tier."""

    cell: str
    layers: list[Layer]
    skip: tuple[Float32, Float32] | None
    upsample: tuple[Float32, Float32]
    initial: Float32
    samples: Float32
    frame_size: int
    hop: int
    upsampling: int
    out_features: int
    is_top: bool

    @property
    def width(self) -> int:
        """D."""
        return int(self.initial.shape[2])


@dataclass
class SampleTier:
    """A folded sample tier."""

    table: Float32
    hidden: list[tuple[Float32, Float32]]
    output: tuple[Float32, Float32]


Model = tuple[list[FrameTier], SampleTier | None]


@dataclass
class Shape:
    """What of a preset decides how fast it generates."""

    width: int
    hops: tuple[int, ...]
    layers: int
    mlp_layers: int = 3
    cell: str = "lstm"
    skip: bool = False
    frames: tuple[int, ...] = ()
    """The hops if not given."""
    history: int = 0
    """hop(1) if not given."""
    levels: int = 256
    rate: int = 16000


PRESETS = {
    "slash": Shape(1024, (16,), 3),
    "live": Shape(256, (8, 32), 1),
    "box": Shape(128, (4, 16), 1),
    "tiny": Shape(32, (4, 16), 1),
    "studio": Shape(1024, (8, 48), 2, rate=44100),
    "paper-2tier": Shape(1024, (16,), 3, cell="gru"),
    "paper-3tier": Shape(1024, (2, 8), 1, cell="gru"),
    "frame-rnn": Shape(1024, (16,), 3, mlp_layers=0),
    "window-rnn": Shape(1024, (1,), 3, mlp_layers=0, frames=(16,)),
}


def make_model(shape: Shape, seed: int = 0) -> Model:
    """Return the tiers, the lowest first, scaled so that the output is neither flat nor certain."""
    rng = np.random.default_rng(seed)
    d, q = shape.width, shape.levels

    def weight(*size: int, scale: float) -> Float32:
        return (rng.standard_normal(size, dtype=np.float32) * np.float32(scale)).astype(np.float32)

    gates = 4 if shape.cell == "lstm" else 3
    tiers = []
    for k, (hop, frame) in enumerate(zip(shape.hops, shape.frames or shape.hops, strict=True)):
        top = k == len(shape.hops) - 1
        up = hop // (shape.hops[k - 1] if k else 1)
        out = q if k == 0 and not shape.mlp_layers else d
        inputs = frame + (0 if top else d)
        layers = []
        for i in range(shape.layers):
            size = inputs if i == 0 else d + (inputs if shape.skip else 0)
            layers.append(
                Layer(
                    weight(gates * d, size, scale=1.5 / size**0.5),
                    weight(gates * d, d, scale=1.0 / d**0.5),
                    weight(gates * d, scale=0.1),
                    weight(gates * d, scale=0.1),
                )
            )
        skip = (weight(shape.layers * d, d, scale=1.5 / d**0.5), weight(d, scale=0.1)) if shape.skip else None
        scale = 5.0 if out == q and not shape.mlp_layers else 2.0
        upsample = (weight(d, up * out, scale=scale / d**0.5), weight(up * out, scale=0.1))
        samples = np.linspace(-2, 2, q, dtype=np.float32)
        initial = weight(2 if shape.cell == "lstm" else 1, shape.layers, d, scale=0.3)
        tiers.append(FrameTier(shape.cell, layers, skip, upsample, initial, samples, frame, hop, up, out, top))
    if not shape.mlp_layers:
        return tiers, None
    history = shape.history or shape.hops[0]
    sample = SampleTier(
        weight(history, q, d, scale=0.7 / history**0.5),
        [(weight(d, d, scale=1.4 / d**0.5), weight(d, scale=0.1)) for _ in range(shape.mlp_layers - 2)],
        (weight(d, q, scale=3.0 / d**0.5), weight(q, scale=0.3)),
    )
    return tiers, sample


def rounded(model: Model) -> Model:
    """Return the model with its weights rounded to fp16, in float32."""
    tiers, sample = model

    def half(values: Float32) -> Float32:
        return values.astype(np.float16).astype(np.float32)

    new = [
        FrameTier(
            t.cell,
            [Layer(half(y.input_weight), half(y.hidden_weight), y.input_bias, y.hidden_bias) for y in t.layers],
            t.skip and (half(t.skip[0]), t.skip[1]),
            (half(t.upsample[0]), t.upsample[1]),
            t.initial,
            t.samples,
            t.frame_size,
            t.hop,
            t.upsampling,
            t.out_features,
            t.is_top,
        )
        for t in tiers
    ]
    if sample is None:
        return new, None
    return new, SampleTier(
        half(sample.table), [(half(w), b) for w, b in sample.hidden], (half(sample.output[0]), sample.output[1])
    )


def sigmoid(x: Float32) -> Float32:
    """Return the logistic function."""
    return (1 / (1 + np.exp(-x))).astype(np.float32)


class Reference:
    """The logits of every sample, given all codes; float32 products of weights rounded to fp16."""

    def __init__(self, model: Model, levels: int) -> None:
        (self.tiers, self.sample), self.levels = rounded(model), levels
        self.state = [tier.initial.copy() for tier in self.tiers]

    def step(self, k: int, codes: Float32, at: int, conditioning: Float32 | None) -> Float32:
        """Step tier k over codes before `at`; return conditioning [r, out]."""
        tier = self.tiers[k]
        inputs = tier.samples[codes[at - tier.frame_size : at].astype(np.int64)]
        if conditioning is not None:
            inputs = np.concatenate([inputs, conditioning])
        below, outputs = None, []
        for i, layer in enumerate(tier.layers):
            x = inputs if below is None else np.concatenate([below, inputs]) if tier.skip else below
            h = self.state[k][0, i]
            a = layer.input_weight @ x + layer.input_bias
            b = layer.hidden_weight @ h + layer.hidden_bias
            if tier.cell == "lstm":
                gi, gf, gg, go = (a + b).reshape(4, -1)
                c = sigmoid(gf) * self.state[k][1, i] + sigmoid(gi) * np.tanh(gg)
                self.state[k][1, i] = c
                h = sigmoid(go) * np.tanh(c)
            else:
                (ar, az, an), (br, bz, bn) = a.reshape(3, -1), b.reshape(3, -1)
                r, z = sigmoid(ar + br), sigmoid(az + bz)
                n: Float32 = np.tanh(an + r * bn)
                h = n + z * (h - n)
            self.state[k][0, i] = h
            below = h
            outputs.append(h)
        out = outputs[-1] if tier.skip is None else np.concatenate(outputs) @ tier.skip[0] + tier.skip[1]
        rows = (out @ tier.upsample[0] + tier.upsample[1]).astype(np.float32)
        return rows.reshape(tier.upsampling, tier.out_features)

    def run(self, codes: Integers, lead: int) -> Float32:
        """Return logits [T, Q] of codes[lead:]."""
        logits: list[Float32] = []
        values = codes.astype(np.float32)

        def descend(k: int, at: int, conditioning: Float32 | None) -> None:
            rows = self.step(k, values, at, conditioning)
            hop = self.tiers[k - 1].hop if k else 1
            for i, row in enumerate(rows):
                if k:
                    descend(k - 1, at + i * hop, row)
                else:
                    logits.append(row if self.sample is None else self._logits(self.sample, codes, at + i, row))

        top = len(self.tiers) - 1
        for at in range(lead, len(codes), self.tiers[top].hop):
            descend(top, at, None)
        return np.stack(logits)

    def _logits(self, sample: SampleTier, codes: Integers, at: int, row: Float32) -> Float32:
        table = sample.table
        history = codes[at - len(table) : at].astype(int)
        x = np.maximum(table[np.arange(len(table)), history].sum(0) + row, 0)
        for w, b in sample.hidden:
            x = np.maximum(x @ w + b, 0)
        logits: Float32 = x @ sample.output[0] + sample.output[1]
        return logits


@dataclass
class Verdict:
    """How far a run is from the reference."""

    nll: float
    """Largest difference of the likelihoods, in nats."""
    draw: float
    """Largest distance of a uniform from the interval of its code, in probability."""
    state: float
    """Largest difference of the state at the end."""
    bits: float
    """Of a code, on average."""


def judge(
    model: Model,
    plan: Any,
    levels: int,
    history: Integers,
    codes: Integers,
    nll: Float32,
    uniform: Float32,
    temperature: Float32,
    floor: float,
    states: Float32,
    clip: int = 0,
) -> Verdict:
    """Compare a run of one clip with the reference, sample by sample, given the codes that were drawn."""
    reference = Reference(model, levels)
    lead = len(history)
    logits = reference.run(np.concatenate([history, codes]), lead).astype(np.float64)
    logits /= np.repeat(temperature, len(codes) // len(temperature))[:, None]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    t = np.arange(len(codes))
    expected = -np.log(p[t, codes])
    left = np.maximum(p - floor, 0)
    left /= left.sum(1, keepdims=True)
    high = left.cumsum(1)[t, codes]
    low = high - left[t, codes]
    draw = np.maximum(np.maximum(low - uniform, uniform - high), 0)
    worst = 0.0
    for k, tier in enumerate(plan.tiers):
        real = reference.state[k]
        held = states[tier.state : tier.state + 2 * tier.layers * plan.clips * plan.width]
        held = held.reshape(2, tier.layers, plan.clips, plan.width)[: len(real), :, clip, : plan.real_width]
        worst = max(worst, float(np.abs(held - real).max()))
    return Verdict(float(np.abs(nll - expected).max()), float(draw.max()), worst, float(expected.mean() / np.log(2)))
