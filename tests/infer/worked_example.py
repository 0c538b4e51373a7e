"""Writes docs/example-bundle, and the worked example of docs/bundle-format.md: its first step, tensor by tensor.

python tests/infer/worked_example.py
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from plain_sampler import PlainSampler

from slash_export.bundle_writer import write_unchecked
from slash_infer.codec import Codec
from slash_train.config import AudioConfig, ModelConfig, Preset
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT, BUNDLE = DOCS / "bundle-format.md", DOCS / "example-bundle"
BEGIN, END = "<!-- worked example: begin -->\n", "<!-- worked example: end -->\n"
SEED, CLIP, FLOOR = 1, 0, 0.11
MODEL = ModelConfig(hops=(2, 4), frame_sizes=(3, 4), history=5, rnn_layers=1, width=3, embedding=2)
LEVELS = 8


def write_bundle() -> None:
    """Write the bundle again: random weights, in eighths."""
    torch.manual_seed(0)
    model = SampleRNN(MODEL, Codec(levels=LEVELS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(((parameter + 0.1 * torch.randn_like(parameter)) * 8).round() / 8)
    audio = AudioConfig.model_validate({"codec": {"levels": LEVELS}})
    write_unchecked(BUNDLE, TrainedModel(model, Preset(audio=audio, model=MODEL), "example", 0, None))


def worked_example() -> str:
    """Return the example as text: each call of a graph with its inputs and outputs."""
    sampler = PlainSampler(BUNDLE, SEED, [CLIP], FLOOR)
    sampler.frame()
    lines = ["```"]
    for name, tensors in sampler.log:
        lines.append(name)
        lines += [f"  {key:17}{_numbers(value)}" for key, value in tensors.items()]
    codes = sampler.codes[0, -sampler.tiers[-1]["hop"] :]
    lines += [f"codes made: {_numbers(codes)}", "", "the first draw, from inside sample_tier"]
    _, first = next(call for call in sampler.log if call[0] == "sample_tier")
    lines += [f"  {key:17}{_numbers(value)}" for key, value in _first_draw(first).items()]
    return "\n".join([*lines, "```", ""])


def _first_draw(call: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the steps by which the sample tier drew the first code of a call."""
    graph = onnx.load(BUNDLE / "sample_tier.onnx")
    graph.graph.output.append(onnx.helper.make_tensor_value_info("logits_0", onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits_0"], {value.name: call[value.name] for value in session.get_inputs()})
    p = np.exp(logits) / np.exp(logits).sum()
    left = np.maximum(p - call["floor"][:, None], 0)
    cumulative = np.cumsum(left, axis=1)
    target = call["uniform"][:, :1] * cumulative[:, -1:]
    code = (cumulative <= target).sum(axis=1)
    assert code == call["codes"][:, 0]
    return {
        "logits_0": logits,
        "p": p,
        "p'": left,
        "cumulative": cumulative,
        "uniform * c[Q-1]": target,
        "code": code,
    }


def committed_example() -> str:
    """Return the example as it is in the document."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]


def _numbers(values: np.ndarray) -> str:
    """Format an array without its batch axis."""
    if values.dtype.kind == "i":
        return " ".join(map(str, values.reshape(-1)))
    rows = values.reshape(-1, values.shape[-1])
    return " | ".join(" ".join(f"{number:.6f}" for number in row) for row in rows)


if __name__ == "__main__":
    write_bundle()
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + worked_example() + END + rest.partition(END)[2])
