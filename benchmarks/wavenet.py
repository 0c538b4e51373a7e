"""WaveNet (van den Oord et al., 2016, arXiv 1609.03499), the other model of raw audio of its year, for comparison.

Stacks of causal convolutions of two taps, dilated by 1, 2, 4, ... samples, each with a gate, a residual and a skip
connection (equation 2, figure 4), then two layers on the sum of the skips (section 2.3). A convolution of two taps
is written as one product with pairs of activations, which on a CPU is faster than PyTorch's.

Shapes: B clips, T samples, R residual channels, S skip channels, Q codes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from learning import CPU, HELD_OUT, Learned, count_parameters
from racing import drawing, one_thread_session
from torch import Tensor, nn
from torch.nn import functional

from slash_export.writer import FLOAT, INT32, GraphWriter
from slash_infer.codec import Codec
from slash_train.clips import cut_clips
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.ema import EMA
from slash_train.evaluate import CLIP_SECONDS
from slash_train.loader import Loader
from slash_train.schedule import rate_factor
from slash_train.streams import NO_TARGET, TrainingStream, WindowReader, read_once

LANES, SCORED = 2, 16_384  # clips that are scored together, and samples of each


@dataclass(frozen=True)
class Shape:
    """The size of a WaveNet."""

    channels: int
    """R: of the residual path, and of filters and gates."""
    skips: int
    """S."""
    stacks: int = 2
    layers: int = 10
    """Of a stack: dilations 1, 2, ..., 2 ** (layers - 1)."""

    @property
    def dilations(self) -> list[int]:
        """The dilation of every layer, from below."""
        return [2**layer for _ in range(self.stacks) for layer in range(self.layers)]

    @property
    def receptive_field(self) -> int:
        """Number of codes that one distribution depends on."""
        return sum(self.dilations) + 1

    @property
    def products(self) -> int:
        """Multiplications of weights for one generated sample; the first layer is a table."""
        layer = 4 * self.channels**2 + self.channels * (self.channels + self.skips)
        return len(self.dilations) * layer + self.skips**2 + self.skips * 256


class WaveNet(nn.Module):
    """The model.

    Args:
        shape: its size.
        levels: Q.
    """

    def __init__(self, shape: Shape, levels: int) -> None:
        super().__init__()
        self.shape = shape
        channels = shape.channels
        self.first = nn.Embedding(levels, channels)
        self.gated = nn.ModuleList(nn.Linear(2 * channels, 2 * channels) for _ in shape.dilations)
        self.after = nn.ModuleList(nn.Linear(channels, channels + shape.skips) for _ in shape.dilations)
        self.hidden = nn.Linear(shape.skips, shape.skips)
        self.output = nn.Linear(shape.skips, levels)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the logits of the codes that follow each whole receptive field.

        Args:
            codes: int64 [B, receptive_field - 1 + T].

        Returns:
            [B, T, Q]; logits t depend on codes [:, t : t + receptive_field].
        """
        x = self.first(codes)
        kept = codes.shape[1] - self.shape.receptive_field + 1
        skips = x.new_zeros(len(x), kept, self.shape.skips)
        for dilation, gated, after in zip(self.shape.dilations, self.gated, self.after, strict=True):
            filtered, gate = gated(torch.cat([x[:, :-dilation], x[:, dilation:]], dim=-1)).chunk(2, dim=-1)
            outputs = after(filtered.tanh() * gate.sigmoid())
            x = x[:, dilation:] + outputs[..., : self.shape.channels]
            skips = skips + outputs[:, -kept:, self.shape.channels :]
        return self.head(skips)

    def head(self, skips: Tensor) -> Tensor:
        """Return logits [..., Q] from the sum of the skip connections, [..., S]."""
        return cast("Tensor", self.output(functional.relu(self.hidden(functional.relu(skips)))))


def learn_wavenet(
    name: str,
    shape: Shape,
    recipe: Preset,
    corpus: Corpus,
    seconds: float,
) -> Learned:
    """Train with Adam until `seconds` of CPU time are over, then score the held-out splits in full.

    Args:
        name: for the table.
        shape: of the model.
        recipe: rates, batches, windows and codec; its model only says how much context windows come with.
        corpus: what to learn from.
        seconds: of CPU time.
    """
    codec, training = recipe.audio.codec, recipe.training
    reads = recipe.model_copy(update={"model": recipe.model.model_copy(update={"history": shape.receptive_field})})
    torch.manual_seed(training.seed)
    model = WaveNet(shape, codec.levels)
    averaged = EMA(model, training.ema_decay)
    optimiser = torch.optim.Adam(model.parameters(), lr=training.learning_rate, fused=True)
    steps, started = 0, time.process_time()
    with Loader(TrainingStream(corpus, reads), CPU) as loader:
        while (done := (time.process_time() - started) / seconds) < 1:
            batch = loader.next()
            logits = model(batch.codes[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate * rate_factor(training, steps, done)
            optimiser.step()
            steps += 1
            averaged.update(steps)
    took = time.process_time() - started
    return Learned(
        name=name,
        parameters=count_parameters(model),
        steps=steps,
        samples_per_second=steps * training.batch_size * training.window / took,
        bits=score(model, codec, corpus),
        ema_bits=score(averaged.model, codec, corpus),
    )


@torch.inference_mode()
def score(model: WaveNet, codec: Codec, corpus: Corpus) -> dict[str, float]:
    """Return the bits per sample of every held-out split, in full, of the same clips as any other model's."""
    reader = WindowReader(codec, model.shape.receptive_field, SCORED)
    bits: dict[str, float] = {}
    for split in HELD_OUT:
        clips, nll = cut_clips(corpus, split, CLIP_SECONDS), 0.0
        for _, window in read_once(corpus, clips, reader, LANES, SCORED):
            logits = model(torch.from_numpy(window.codes[:, :-1])).transpose(1, 2)
            targets = torch.from_numpy(window.targets)
            nll += functional.cross_entropy(logits, targets, ignore_index=NO_TARGET, reduction="sum").item()
        bits[split] = nll / math.log(2) / sum(clip.length for clip in clips)
    return bits


class Steps:
    """Runs a WaveNet sample by sample for one clip that begins with silence.

    What each layer will need again is kept, so a sample costs one step of every layer (Le Paine et al., 2016, arXiv
    1611.09482). ONNX Runtime runs the step, in one thread.

    Args:
        model: the model.
        silence: the code of it.
    """

    def __init__(self, model: WaveNet, silence: int) -> None:
        self._session = one_thread_session(_step(model))
        self._dilations = np.array(model.shape.dilations)
        self._layers = np.arange(len(self._dilations))
        self._kept = np.zeros((len(self._layers), self._dilations.max(), model.shape.channels), np.float32)
        self._time = 0
        for _ in range(model.shape.receptive_field):
            self.advance(silence)

    def advance(self, code: int) -> npt.NDArray[np.float32]:
        """Take the next code; return the cumulated probabilities of the one after it, [Q]."""
        places = self._time % self._dilations
        inputs = {"code": np.array([code], np.int32), "before": self._kept[self._layers, places]}
        cumulative, self._kept[self._layers, places] = self._session.run(None, inputs)
        self._time += 1
        return np.asarray(cumulative[0])


def start_wavenet(model: WaveNet, silence: int) -> Callable[[int], object]:
    """Return a function that generates a number of further samples of one clip, from silence."""
    steps = Steps(model, silence)
    return drawing(steps.advance(silence), steps.advance)


def _step(model: WaveNet) -> onnx.ModelProto:
    """Return the graph of one sample.

    Its inputs are a code [1], and what each layer read a dilation before [layers, R]; its outputs the cumulated
    probabilities of the next code [1, Q], and what each layer reads now.
    """
    writer, layers, channels = GraphWriter("wavenet", "fp32"), len(model.gated), model.shape.channels
    op = writer.op
    code = writer.input("code", INT32, [1])
    befores = writer.parts(writer.input("before", FLOAT, [layers, channels]), layers, axis=0)
    x = op.Gather(writer.weight("first", _array(model.first.weight)), code)
    read, skips = [], []
    for i, before in enumerate(befores):
        read.append(x)
        pair = writer.joined([before, x], axis=1)
        filtered, gate = writer.parts(_linear(writer, f"gated_{i}", pair, model.gated[i]), 2, axis=1)
        after = _linear(writer, f"after_{i}", op.Mul(op.Tanh(filtered), op.Sigmoid(gate)), model.after[i])
        sizes = writer.weight("sizes", np.array([channels, model.shape.skips]))
        onward, skip = op.Split(after, sizes, axis=1, _outputs=2)
        x = op.Add(x, onward)
        skips.append(skip)
    hidden = _linear(writer, "hidden", op.Relu(op.Sum(*skips)), model.hidden)
    logits = _linear(writer, "output", op.Relu(hidden), model.output)
    cumulative = op.CumSum(op.Softmax(logits, axis=1), writer.weight("axis", np.array(1)))
    writer.output("cumulative", cumulative, FLOAT, [1, model.output.out_features])
    writer.output("now", writer.joined(read, axis=0), FLOAT, [layers, channels])
    return writer.finish()


def _linear(writer: GraphWriter, name: str, x: Any, layer: nn.Module) -> Any:
    assert isinstance(layer, nn.Linear)  # noqa: S101
    return writer.linear(name, x, _array(layer.weight.T), _array(layer.bias))


def _array(weights: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(weights.detach().numpy())
