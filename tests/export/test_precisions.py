"""int8 and fp16: their loss is measured, and a variant or an engine that loses too much is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from slash_export import fidelity, writer
from slash_export.bundle_writer import export
from slash_export.fidelity import check_fidelity, measure_fidelity, take_excerpt
from slash_export.recordings import corpus_of
from slash_export.scoring import BundleScorer
from slash_export.tolerances import MOST_BITS_LOST
from slash_export.verify import Refusal, Verdict, verify
from slash_export.writer import quantise
from slash_infer.bundle import MANIFEST, PRECISIONS, Bundle, Precision, describe_file
from slash_infer.errors import UserError
from slash_infer.runtimes import registry
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.onnx_session import OnnxGraph
from slash_infer.runtimes.protocol import Launch
from slash_infer.sampling.choice import open_engine
from slash_infer.sampling.engine import Engine
from slash_train.corpus import Corpus
from slash_train.evaluate import bits_per_sample
from slash_train.run import Run


@pytest.mark.parametrize(("rows", "block"), [(5, 16), (36, 64), (64, 64), (300, 64), (1040, 256)])
def test_quantised_weights_are_within_half_a_step(rows: int, block: int) -> None:
    weight = np.random.default_rng(0).standard_normal((rows, 7)).astype(np.float32)
    weight[:, 3] = 0
    integers, scales = quantise(weight)
    assert integers.dtype == np.uint8 and integers.shape == (7, -(-rows // block), block)
    restored = ((integers.astype(float) - 128) * scales[..., None]).reshape(7, -1)[:, :rows].T
    assert np.abs(restored - weight).max() <= scales.max() / 2 * 1.0001
    assert (restored[:, 3] == 0).all() and integers.min() >= 1 and integers.max() <= 255


def test_each_precision_is_what_it_says(bundle: Bundle) -> None:
    """No product is left in another precision, as quantisers are known to do silently."""
    for variant in bundle.manifest.variants:
        for entry in variant.files():
            graph = onnx.load_from_string(bundle.read(entry)).graph
            products = [node.op_type for node in graph.node if node.op_type.startswith(("MatMul", "Gemm"))]
            if variant.precision == "int8":
                # The output layer, once for every sample of a step, and the samples that a frame tier sees.
                exact = bundle.manifest.frame_tiers[0].hop if graph.name == "sample_tier" else 1
                assert sorted(products) == sorted(["MatMulNBits"] * (len(products) - exact) + ["MatMul"] * exact)
            else:
                assert set(products) == {"MatMul"}
            named = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith(".weight")}
            if variant.precision == "int8":
                named.pop("output.weight", None)
            weights = list(named.values())
            assert weights
            kind = {"fp32": "FLOAT", "fp16": "FLOAT16", "int8": "UINT8"}[variant.precision]
            assert {onnx.TensorProto.DataType.Name(weight.data_type) for weight in weights} == {kind}
            domains = {node.domain for node in graph.node}
            assert domains == ({"", "com.microsoft"} if variant.precision == "int8" else {""})


def test_softmax_sums_and_states_are_float32_in_fp16(bundle: Bundle) -> None:
    for entry in bundle.manifest.variants[PRECISIONS.index("fp16")].files():
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(bundle.read(entry)))
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        for node in model.graph.node:
            if node.op_type in ("Softmax", "CumSum", "Sigmoid", "Tanh"):
                assert types[node.output[0]] == onnx.TensorProto.FLOAT, node.name


def test_the_manifest_says_what_a_precision_costs(bundle: Bundle, run: Run, corpus: Corpus) -> None:
    exact, *others = bundle.manifest.variants
    assert exact.precision == "fp32" and exact.fidelity is None
    for variant in others:
        found = variant.fidelity
        assert found is not None and found.excerpt == "validation"
        assert 0 < found.mean_kl < 1e-3 and 0 < found.max_logit_difference < 1
        assert abs(found.loss) <= MOST_BITS_LOST
    # `evaluate` finds the same on a larger part of the same recordings.
    assert others[0].fidelity is not None
    scorer = BundleScorer(bundle, Engine(bundle, OnnxCpu(), others[0].precision))
    assert others[0].fidelity.bits == pytest.approx(bits_per_sample(scorer, corpus, "valid"), abs=0.3)
    assert run.corpus_path == corpus.path.resolve()


def test_without_its_corpus_a_bundle_is_compared_on_generated_audio(
    bundle: Bundle, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = run.metadata.corpus.model_copy(update={"path": str(tmp_path / "gone")})
    monkeypatch.setattr(run, "metadata", run.metadata.model_copy(update={"corpus": gone}))
    excerpt = take_excerpt(bundle, corpus_of(run))
    found, _ = measure_fidelity(bundle, "fp16", excerpt)
    assert found.excerpt == "generated" and found.samples >= 8 * 15_000
    assert 0 < found.mean_kl < 1e-3
    # On audio drawn by fp32, the expected loss of fp16 is the KL divergence.
    assert found.loss == pytest.approx(found.mean_kl / np.log(2), abs=1e-3)


def test_a_precision_that_loses_too_much_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = writer.quantise

    def coarse(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        integers, scales = genuine(weight)
        return (integers // 32 * 32).astype(np.uint8), scales

    monkeypatch.setattr(writer, "quantise", coarse)
    with pytest.raises(UserError, match=r"`precision` int8: loses \d\.\d+ bits/sample .+ pass `accept_loss`"):
        export(run, tmp_path / "bundle", precisions=["int8"])
    assert list(tmp_path.iterdir()) == []
    manifest = export(run, tmp_path / "bundle", precisions=["int8"], accept_loss=True)
    assert manifest.variants[1].fidelity is not None and manifest.variants[1].fidelity.loss > MOST_BITS_LOST


def test_not_a_number_is_refused(bundle: Bundle) -> None:
    found = bundle.manifest.variants[1].fidelity
    assert found is not None
    with pytest.raises(UserError, match="loses nan bits"):
        check_fidelity("fp16", found.model_copy(update={"bits": float("nan")}))


def test_verify_finds_a_faulty_variant(bundle: Bundle, tmp_path: Path) -> None:
    genuine = _verdicts(bundle, OnnxCpu())
    assert [(verdict.precision, verdict.fault) for verdict in genuine] == [("int8", None), ("fp16", None)]
    assert all(0 < verdict.identical <= verdict.codes == 16_000 for verdict in genuine)
    assert genuine[1].max_layer_difference < genuine[0].max_layer_difference < 0.1
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in bundle.path.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / "sample_tier.int8.onnx"
    model = onnx.load(path)
    (scales,) = [tensor for tensor in model.graph.initializer if tensor.name == "hidden_0.scales"]
    scales.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scales) * np.float32(3), scales.name))
    onnx.save(model, path)
    content = json.loads((folder / MANIFEST).read_text())
    content["variants"][1]["sample_tier"] = describe_file(path).model_dump()
    (folder / MANIFEST).write_text(json.dumps(content))
    verdicts = _verdicts(Bundle(folder), OnnxCpu())
    assert verdicts[0].fault is not None and "mean KL is over" in verdicts[0].fault
    assert verdicts[1].fault is None


class _Forgetful(OnnxCpu):
    """A runtime whose captured work leaves out the last copy: single graphs run correctly, generation does not."""

    def capture(self, work: Sequence[Launch]) -> Launch:
        return super().capture(work[:-1])


class _NotANumber(OnnxCpu):
    """A runtime whose results are NaN."""

    def get(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = super().get(array)
        return found if found.dtype == np.int32 else found * np.float32(np.nan)


class _Unable(OnnxCpu):
    """A runtime that is available but rejects every graph."""

    name = "unable"

    def load(self, content: bytes, name: str, width: int) -> OnnxGraph:  # noqa: ARG002
        raise UserError(name, "cannot be compiled")


def test_verify_judges_what_is_generated(bundle: Bundle) -> None:
    for verdict in _verdicts(bundle, _Forgetful()):
        assert verdict.fault == "draws codes that its own logits do not give"


def test_verify_does_not_accept_nan(bundle: Bundle) -> None:
    for verdict in _verdicts(bundle, _NotANumber()):
        assert verdict.fault is not None
        assert verdict.max_logit_difference is not None and np.isnan(verdict.max_logit_difference)


def test_an_engine_that_opens_nothing_is_passed_over(
    bundle: Bundle, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `auto` and by exports, but not by verify, and not when it is asked for by name."""
    monkeypatch.setattr(registry, "RUNTIMES", {"cuda": _Unable, "cpu": OnnxCpu})
    chosen = open_engine(bundle)
    assert chosen.runtime.name == "cpu" and "cannot be compiled" in chosen.why
    with pytest.raises(UserError, match="cannot be compiled"):
        open_engine(bundle, "cuda")
    assert {type(one) for one in verify(bundle, [_Unable()])} == {Refusal}
    assert len(export(run, tmp_path / "bundle", precisions=["fp16"]).variants) == 2


class _Cluster(OnnxCpu):
    name = "cluster"
    precisions = ("fp16",)


def test_auto_takes_the_first_that_has_a_precision_of_the_bundle(
    bundle: Bundle, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [*registry.RUNTIMES] == ["cluster", "tensorrt", "cuda", "compiled", "cpu"]
    monkeypatch.setattr(registry, "RUNTIMES", {"cluster": _Cluster, "cpu": OnnxCpu})
    chosen = open_engine(bundle)
    assert (chosen.runtime.name, chosen.precision, chosen.why) == ("cluster", "fp16", "")
    export(run, tmp_path / "bundle", precisions=["int8"])
    chosen = open_engine(Bundle(tmp_path / "bundle"))
    assert (chosen.runtime.name, chosen.precision) == ("cpu", "int8")
    assert "has no fp16 graphs" in chosen.why


def _verdicts(bundle: Bundle, runtime: OnnxCpu) -> list[Verdict]:
    found = verify(bundle, [runtime])
    assert [one.precision for one in found] == ["int8", "fp16"]
    return [one for one in found if isinstance(one, Verdict)]


def test_the_excerpt_is_short(bundle: Bundle, run: Run) -> None:
    """A few seconds of every held-out recording, to keep exports quick."""
    excerpt = take_excerpt(bundle, corpus_of(run))
    seconds = sum((window.targets >= 0).sum() for window in excerpt.windows) / bundle.manifest.sample_rate
    assert 0 < seconds <= fidelity.CLIPS * fidelity.CLIP_SECONDS + 1


def test_a_bundle_without_fp32_is_the_same_but_for_it(run: Run, bundle: Bundle, tmp_path: Path) -> None:
    small = tmp_path / "small"
    manifest = export(run, small, precisions=["int8"], without_fp32=True)
    assert [variant.precision for variant in manifest.variants] == ["int8"]
    assert {file.name for file in small.iterdir()} == {entry.file for entry in manifest.files()} | {MANIFEST}
    opened, int8 = Bundle(small), manifest.variants[0]
    assert int8.files() == bundle.variant("int8").files() and int8.fidelity == bundle.variant("int8").fidelity
    assert open_engine(opened).precision == "int8"
    with pytest.raises(UserError, match="has no fp32 graphs"):
        verify(opened, [OnnxCpu()])


@pytest.mark.parametrize("precisions", [[], ["fp32"]])
def test_something_is_left_without_fp32(run: Run, tmp_path: Path, precisions: list[Precision]) -> None:
    with pytest.raises(UserError, match="leaves nothing; add a `precision`"):
        export(run, tmp_path / "small", precisions=precisions, without_fp32=True)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(("largest", "stored"), [(65_504.0, np.float16), (65_505.0, np.float32)])
def test_the_table_of_int8_is_stored_in_half_precision_if_it_fits(largest: float, stored: type) -> None:
    graph = writer.GraphWriter("lookup", "int8")
    rows = np.array([[largest, 1.0], [0.1, -2.0]], np.float32)
    found = graph.looked_up("table", rows, graph.input("indices", writer.INT32, ["batch"]))
    graph.output("rows", found, writer.FLOAT, ["batch", 2])
    model = graph.finish()
    (table,) = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.name == "table"]
    assert table.dtype == stored and np.array_equal(table, rows.astype(stored))
