"""The exported graphs compute what the model computes, for every shape of model; defects are found."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ON_CPU

from slash_export import bundle_writer, folding
from slash_export.bundle_writer import export, write_unchecked
from slash_export.errors import ParityError
from slash_export.folding import fold
from slash_export.graphs import frame_tier_graph, sample_tier_graph
from slash_export.parity import check_parity
from slash_export.teacher_forcing import TeacherForced
from slash_export.verify import Verdict, verify
from slash_infer.bundle import MANIFEST, PRECISIONS, Bundle, describe_file
from slash_infer.files import read_json, write_json
from slash_infer.runtimes.graph_model import GraphModel
from slash_infer.runtimes.host_graph import HostGraph
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_train import loop
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.model import SampleRNN
from slash_train.run import Run

SHAPES = {
    "GRU": ["model.cell=gru", "model.rnn_layers=2"],
    "GRU, skips, weight norm": [
        "model.cell=gru",
        "model.rnn_layers=3",
        "model.skip_connections=true",
        "model.weight_norm=true",
    ],
    "LSTM, skips": ["model.rnn_layers=2", "model.skip_connections=true"],
    "window-rnn": ["model.hops=[1]", "model.frame_sizes=[8]", "model.mlp_layers=0"],
    "frame-rnn": ["model.hops=[8]", "model.mlp_layers=0"],
    "frame-rnn of two tiers": ["model.hops=[4,16]", "model.mlp_layers=0"],
    "two tiers": ["model.hops=[8]", "model.rnn_layers=3"],
    "frames of one sample": ["model.hops=[1,4]"],
    "three tiers": ["model.hops=[2,8]"],
    "frames larger than hops, the lowest the largest": [
        "model.hops=[2,8]",
        "model.frame_sizes=[24,12]",
        "model.history=5",
    ],
    "a history longer than every frame": ["model.frame_sizes=[6,16]", "model.history=40"],
    "a history of one code": ["model.frame_sizes=[4,24]", "model.history=1"],
    "every sample a step, a long history": ["model.hops=[1]", "model.frame_sizes=[3]", "model.history=9"],
    "four tiers, no hidden layer": ["model.hops=[2,4,16]", "model.mlp_layers=2"],
    "five hidden layers, 100 linear codes": [
        "model.mlp_layers=6",
        "audio.codec.levels=100",
        "audio.codec.kind=linear",
    ],
}


@pytest.mark.parametrize("overrides", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_of_model_exports_with_identical_codes(
    corpus: Corpus, tmp_path: Path, overrides: list[str]
) -> None:
    """The steps of `export`, over less audio."""
    preset = load_preset("tiny", [*overrides, "training.valid_seconds=1"])
    done = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(10), context=ON_CPU)
    trained = done.run.load_model("last")
    write_unchecked(tmp_path, trained, PRECISIONS)
    bundle = Bundle(tmp_path)
    assert [variant.precision for variant in bundle.manifest.variants] == list(PRECISIONS)
    assert bundle.manifest.codec == preset.audio.codec
    parity = check_parity(bundle, trained.model, samples=2000)
    assert parity.samples >= 3990 and parity.max_logit_difference < 1e-4  # but for ties
    verdicts = verify(bundle, [OnnxCpu()])
    assert len(verdicts) == 2 and all(isinstance(one, Verdict) and one.fault is None for one in verdicts), verdicts


def test_the_bundle_says_where_it_comes_from(bundle: Bundle, run: Run) -> None:
    source = bundle.manifest.provenance
    state = run.checkpoints.find("best").trainer_state()
    assert (source.preset, source.step) == ("tiny", state.step)
    assert source.valid_bits == state.valid_bits


def test_perturbing_one_weight_fails_the_check(run: Run, bundle: Bundle, tmp_path: Path) -> None:
    """Whichever weight it is: one entry of each initializer in each graph, by a twentieth of its range."""
    model = run.load_model("best").model
    frame_tiers, sample_tier = fold(model)
    graphs = {f"frame_tier_{k}": frame_tier_graph(tier, k) for k, tier in enumerate(frame_tiers, 1)}
    assert sample_tier is not None
    graphs["sample_tier"] = sample_tier_graph(sample_tier, frame_tiers[0].hop)
    perturbed = 0
    for name, graph in graphs.items():
        for weight in graph.graph.initializer:
            if weight.data_type != onnx.TensorProto.FLOAT or not weight.name.endswith(("weight", "table")):
                continue
            folder = tmp_path / f"{name}.{weight.name}"
            shutil.copytree(bundle.path, folder)
            _perturb(folder, name, weight.name)
            with pytest.raises(ParityError, match=f"^{name}.onnx: computes other"):
                check_parity(Bundle(folder), model, samples=1000)
            perturbed += 1
    assert perturbed == 7  # two in each of two frame tiers; table, hidden layer and output of the sample tier


def test_logits_far_below_zero_are_no_fault(run: Run, tmp_path: Path) -> None:
    """As after long training: absolute errors of float32 are larger there, relative ones are not."""
    trained = run.load_model("best")
    model = trained.model
    assert model.sample_tier is not None
    with torch.no_grad():
        model.sample_tier.output.bias[200:] -= 50_000  # these codes are never drawn
    write_unchecked(tmp_path, trained)
    parity = check_parity(Bundle(tmp_path), model, samples=2000)
    assert parity.max_logit_difference > 1e-3


def test_a_failed_export_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a defect in the folding, the export fails and removes its incomplete bundle."""
    genuine = folding.fold

    def faulty(model: SampleRNN) -> object:
        frame_tiers, sample_tier = genuine(model)
        assert sample_tier is not None
        sample_tier.output[1][3] += 0.01
        return frame_tiers, sample_tier

    monkeypatch.setattr(bundle_writer, "fold", faulty)
    with pytest.raises(ParityError):
        export(run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_graphs_are_plain_self_contained_and_signed_as_documented(bundle: Bundle) -> None:
    manifest = bundle.manifest
    width = manifest.width
    lowest, top, sample = (onnx.load_from_string(bundle.read(graph)) for graph in manifest.variants[0].files())
    assert _signature(lowest) == {
        "frame": ("INT32", ["batch", 4]),
        "conditioning": ("FLOAT", ["batch", width]),
        "h": ("FLOAT", [1, "batch", width]),
        "c": ("FLOAT", [1, "batch", width]),
        "conditioning_out": ("FLOAT", ["batch", 4, width]),
        "h_out": ("FLOAT", [1, "batch", width]),
        "c_out": ("FLOAT", [1, "batch", width]),
    }
    assert _signature(top).keys() == _signature(lowest).keys() - {"conditioning"}
    assert _signature(sample) == {
        "history": ("INT32", ["batch", 4]),
        "conditioning": ("FLOAT", ["batch", 4, width]),
        "uniform": ("FLOAT", ["batch", 4]),
        "temperature": ("FLOAT", ["batch"]),
        "floor": ("FLOAT", ["batch"]),
        "codes": ("INT32", ["batch", 4]),
        "nll": ("FLOAT", ["batch", 4]),
    }
    for variant in manifest.variants:
        for graph, exact in zip(variant.files(), (lowest, top, sample), strict=True):
            inner = onnx.load_from_string(bundle.read(graph))
            assert _signature(inner) == _signature(exact)  # float32 at the boundary, whatever the precision
    for model in (lowest, top, sample):
        assert {node.op_type for node in model.graph.node}.isdisjoint({"Loop", "Scan", "If"})
        assert all(node.domain == "" for node in model.graph.node)
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_export_is_deterministic(run: Run, bundle: Bundle, tmp_path: Path) -> None:
    again = export(run, tmp_path / "again", precisions=PRECISIONS)
    assert again.files() == bundle.manifest.files()


def test_nll_is_that_of_the_drawn_code_at_its_temperature(bundle: Bundle, run: Run) -> None:
    """The graph's NLL against the PyTorch sample tier's, one temperature and floor per clip; no floor changes it."""
    model = run.load_model("best").model
    steps = bundle.manifest.sample_tier.history
    rng = np.random.default_rng(0)
    temperature = np.array([0.5, 1.0, 2.0], np.float32)
    history = rng.integers(0, 256, (3, steps), dtype=np.int32)
    frame = rng.integers(0, 256, (3, 16), dtype=np.int32)
    forced = TeacherForced(bundle, Engine(bundle, OnnxCpu()))
    forced.start(3)
    top = forced.step(2, frame, None)
    folded = forced.step(1, history, top[:, 0])
    opened = GraphModel(bundle, OnnxCpu(), "fp32")
    outputs = HostGraph(opened.runtime, opened.graphs.sample_tier)(
        {
            "history": history,
            "conditioning": folded,
            "uniform": rng.random((3, steps), dtype=np.float32),
            "temperature": temperature,
            "floor": np.array([0.0, 0.001, 0.003], np.float32),
        }
    )
    codes, nll = outputs["codes"], outputs["nll"]
    assert nll.shape == codes.shape == (3, steps)

    with torch.inference_mode():
        tiers = model.tiers()
        top_frames = model.samples[torch.from_numpy(frame)[:, None].long()]
        low_frames = model.samples[torch.from_numpy(history)[:, None].long()]
        above, _ = tiers[1](top_frames, None, tiers[1].initial_state(3))
        conditioning, _ = tiers[0](low_frames, above[:, :1], tiers[0].initial_state(3))
        window = torch.from_numpy(np.concatenate([history, codes[:, :-1]], axis=1)).long()
        assert model.sample_tier is not None
        logits = model.sample_tier(window, conditioning, folded=False) / torch.from_numpy(temperature)[:, None, None]
        expected = -logits.log_softmax(-1).gather(-1, torch.from_numpy(codes).long()[..., None])[..., 0]
    assert np.abs(nll - expected.numpy()).max() < 1e-4


def test_draws_follow_the_distribution(bundle: Bundle) -> None:
    """First codes of many clips, drawn from one state, against the probabilities given by their NLL."""
    clips, steps = 20_000, bundle.manifest.sample_tier.history
    rng = np.random.default_rng(1)
    conditioning = np.repeat(rng.standard_normal((1, steps, bundle.manifest.width), np.float32), clips, axis=0)
    history = np.full((clips, steps), 128, np.int32)
    uniform = ((np.arange(clips) + 0.5) / clips).astype(np.float32)  # stratified: each quantile once
    opened = GraphModel(bundle, OnnxCpu(), "fp32")
    outputs = HostGraph(opened.runtime, opened.graphs.sample_tier)(
        {
            "history": history,
            "conditioning": conditioning,
            "uniform": np.repeat(uniform[:, None], steps, axis=1),
            "temperature": np.ones(clips, np.float32),
            "floor": np.zeros(clips, np.float32),
        }
    )
    codes, nll = outputs["codes"], outputs["nll"]
    assert (np.diff(codes[:, 0]) >= 0).all()  # inverse CDF: monotone in the uniform
    claimed = {int(code): float(np.exp(-n)) for code, n in zip(codes[:, 0], nll[:, 0], strict=True)}
    counts = np.bincount(codes[:, 0], minlength=256)
    for code, probability in claimed.items():
        assert counts[code] == pytest.approx(clips * probability, abs=2)
    assert sum(claimed.values()) == pytest.approx(1, abs=0.02)


def _perturb(folder: Path, graph: str, weight: str) -> None:
    """Change one weight of an exported graph and update the manifest, as a defective export would."""
    path = folder / f"{graph}.onnx"
    model = onnx.load(path)
    (tensor,) = [t for t in model.graph.initializer if t.name == weight]
    values = onnx.numpy_helper.to_array(tensor).copy()
    flat = values.reshape(-1)
    flat[_used_entry(weight, values)] += 0.05 + 0.05 * np.ptp(flat)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, weight))
    onnx.save(model, path)
    content = read_json(folder / MANIFEST, "a manifest", "export again")
    variant = content["variants"][0]
    for k, entry in enumerate(variant["frame_tiers"]):
        if entry["file"] == path.name:
            variant["frame_tiers"][k] = describe_file(path).model_dump()
    if variant["sample_tier"]["file"] == path.name:
        variant["sample_tier"] = describe_file(path).model_dump()
    write_json(folder / MANIFEST, content)


def _used_entry(weight: str, values: np.ndarray) -> int | slice:
    """Return what generation always reads: an entry or, in the table, the row of silence at the first position."""
    width = values.shape[-1]
    return slice(128 * width, 129 * width) if weight == "table" else 0


def _signature(model: onnx.ModelProto) -> dict[str, tuple[str, list[int | str]]]:
    signature = {}
    for value in (*model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        shape = [axis.dim_param or axis.dim_value for axis in tensor.shape.dim]
        signature[value.name] = (onnx.TensorProto.DataType.Name(tensor.elem_type), shape)
    return signature
