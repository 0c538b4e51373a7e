"""Parity compares what the graphs compute: any preset passes however little it is trained, and defects are named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ON_CPU
from odd_models import SEEN, odd_model, write_odd

from slash_export import bundle_writer, folding, writer
from slash_export.audition import audition
from slash_export.bundle_writer import export, write_unchecked
from slash_export.errors import ParityError
from slash_export.fidelity import check_fidelity
from slash_export.parity import check_parity
from slash_export.tolerances import sample_tier_rows, stretches_at_once
from slash_export.verify import Verdict, verify
from slash_infer.bundle import MANIFEST, Bundle, describe_file
from slash_infer.errors import UserError
from slash_infer.files import read_json, write_json
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.temperature import TemperatureSchedule
from slash_train import loop
from slash_train.config import load_preset, preset_names
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.model import SampleRNN
from slash_train.prepare import prepare
from slash_train.run import Run

NARROW = ["model.width=32", "audio.sample_rate=16000"]


def _train(corpus: Corpus, out: Path, name: str, steps: int, overrides: list[str]) -> Run:
    """Train briefly, at the smallest batch."""
    brief = ["training.batch_size=2", "training.preview_clips=0", "training.valid_seconds=1.0", *overrides]
    limits = loop.Limits(steps)
    return loop.train(corpus, out, name, load_preset(name, brief), limits=limits, context=ON_CPU).run


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_passes_after_one_step(corpus: Corpus, tmp_path: Path, name: str) -> None:
    trained = _train(corpus, tmp_path / "run", name, 1, NARROW).load_model("best")
    (tmp_path / "bundle").mkdir()
    write_unchecked(tmp_path / "bundle", trained)
    parity = check_parity(Bundle(tmp_path / "bundle"), trained.model, samples=2000)
    assert parity.samples >= 4000 and parity.max_logit_difference < 1e-4


@pytest.mark.parametrize("shape", SEEN)
def test_whatever_tiers_see_the_graphs_compute_what_the_model_computes(shape: str, tmp_path: Path) -> None:
    bundle, model = write_odd(tmp_path, SEEN[shape], ["fp32"]), odd_model(SEEN[shape]).model
    parity = check_parity(bundle, model, samples=1000)
    assert parity.samples >= 2000 and parity.max_logit_difference < 1e-4


def test_a_context_of_thousands_is_compared_in_parts_that_fit_in_memory(tmp_path: Path) -> None:
    overrides = ["model.history=2000", "model.frame_sizes=[4,3000]", "model.embedding=4"]
    bundle, model = write_odd(tmp_path, overrides, ["fp32"]), odd_model(overrides).model
    manifest = bundle.manifest
    assert sample_tier_rows(manifest) * 2000 * manifest.width <= 2**24
    assert stretches_at_once(manifest, 2, 16) * 2 * 3000 <= 2**22
    assert check_parity(bundle, model, samples=320).samples == 640


def test_a_chaotic_model_exports_in_int8_too(corpus: Corpus, tmp_path: Path) -> None:
    """After one step, two orbits of this one part within 0.2 s, and int8 is as good a model as fp32 there."""
    run = _train(corpus, tmp_path / "run", "window-rnn", 1, NARROW)
    manifest = export(run, tmp_path / "bundle", precisions=["int8"])
    assert manifest.parity is not None and manifest.parity.samples >= 31_990
    assert manifest.parity.max_logit_difference < 1e-4
    for verdict in verify(Bundle(tmp_path / "bundle"), [OnnxCpu()]):
        assert isinstance(verdict, Verdict) and verdict.mean_kl < 1e-3 and verdict.identical < verdict.codes


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_exports_however_little_it_is_trained(
    corpus: Corpus, recordings: Path, tmp_path: Path, name: str, steps: int
) -> None:
    rate = load_preset(name).audio.sample_rate
    if rate != corpus.sample_rate:
        prepare([recordings], tmp_path / "corpus", sample_rate=rate)
        corpus = Corpus(tmp_path / "corpus")
    manifest = export(_train(corpus, tmp_path / "run", name, steps, []), tmp_path / "bundle", precisions=["int8"])
    assert manifest.parity is not None and manifest.parity.max_logit_difference < 1e-4


def test_a_run_of_one_step_is_scored_and_auditioned_and_its_weights_may_be_the_initial_ones(
    corpus: Corpus, tmp_path: Path
) -> None:
    run = _train(corpus, tmp_path / "run", "live", 1, [*NARROW, "training.learning_rate=1e-30"])
    (checkpoint,) = run.checkpoints.all()
    trained = run.load_model("best")
    assert trained.step == 1 and trained.valid_bits is not None
    scored = bits_per_sample(ModelScorer(trained.model, run.preset.audio.codec), corpus, "valid", at_most_seconds=1)
    assert scored == pytest.approx(trained.valid_bits, abs=1e-3)
    temperature = TemperatureSchedule.constant(1.0)
    (line,) = audition(
        run,
        tmp_path / "audition",
        [checkpoint],
        clips=1,
        seconds=0.2,
        seed=0,
        temperature=temperature,
        floor=0.0,
        candidates=1,
        restart=False,
    )
    assert line.step == 1 and np.isfinite(line.bits)
    assert export(run, tmp_path / "bundle").parity is not None


def _swap_outputs(graph: onnx.GraphProto) -> None:
    """Return the new h for c and the new c for h: what the next step reads, and nothing that this one computes."""
    swapped = {"h_out": "c_out", "c_out": "h_out"}
    for node in graph.node:
        node.output[:] = [swapped.get(name, name) for name in node.output]


def _draw_from_the_other_end(graph: onnx.GraphProto) -> None:
    """Count the entries above the uniform instead of those at or under it."""
    for node in graph.node:
        if node.op_type == "LessOrEqual":
            node.op_type = "Greater"


def _nudge(weight: str, entry: int | slice) -> Callable[[onnx.GraphProto], None]:
    """Change an entry of a weight, or some, by a hundredth."""

    def nudge(graph: onnx.GraphProto) -> None:
        (tensor,) = [one for one in graph.initializer if one.name == weight]
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[entry] += 0.01
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, weight))

    return nudge


ALWAYS_READ = slice(128 * 32, 129 * 32)  # of the table: the row of silence at the first position
DEFECTS = {
    "top recurrence": ("frame_tier_2", _nudge("layer_0.weight", 0), "states"),
    "top state": ("frame_tier_2", _swap_outputs, "states"),
    "top upsampling": ("frame_tier_2", _nudge("upsample.bias", 0), "conditioning"),
    "lowest recurrence": ("frame_tier_1", _nudge("layer_0.bias", 0), "states"),
    "lowest state": ("frame_tier_1", _swap_outputs, "states"),
    "lowest upsampling": ("frame_tier_1", _nudge("upsample.weight", 0), "conditioning"),
    "table": ("sample_tier", _nudge("table", ALWAYS_READ), "logits"),
    "hidden layer": ("sample_tier", _nudge("hidden_0.bias", 0), "logits"),
    "output layer": ("sample_tier", _nudge("output.bias", 100), "logits"),
    "draw": ("sample_tier", _draw_from_the_other_end, "draws another code than the model at sample"),
}


@pytest.mark.parametrize(("name", "edit", "fault"), DEFECTS.values(), ids=DEFECTS)
def test_a_small_defect_is_found_and_its_graph_is_named(
    bundle: Bundle, run: Run, tmp_path: Path, name: str, edit: Callable[[onnx.GraphProto], None], fault: str
) -> None:
    edited = _copy(bundle, tmp_path / "bundle")
    model = onnx.load(edited / f"{name}.onnx")
    edit(model.graph)
    onnx.save(model, edited / f"{name}.onnx")
    _describe_again(edited, f"{name}.onnx")
    with pytest.raises(ParityError, match=rf"^{name}\.onnx: .*{fault}"):
        check_parity(Bundle(edited), run.load_model("best").model, samples=1000)


def test_another_initial_state_is_found(bundle: Bundle, run: Run, tmp_path: Path) -> None:
    edited = _copy(bundle, tmp_path / "bundle")
    state = np.load(edited / "frame_tier_1.initial.npy")
    state[0, 0, 3] += 1e-3
    np.save(edited / "frame_tier_1.initial.npy", state)
    _describe_again(edited, "frame_tier_1.initial.npy")
    with pytest.raises(ParityError, match=r"^frame_tier_1\.initial\.npy: is another initial state"):
        check_parity(Bundle(edited), run.load_model("best").model, samples=1000)


def test_a_failed_parity_is_an_error_of_one_line_that_says_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = folding.fold

    def faulty(model: SampleRNN) -> object:
        frame_tiers, sample_tier = genuine(model)
        frame_tiers[0].upsample[1][3] += 0.01
        return frame_tiers, sample_tier

    monkeypatch.setattr(bundle_writer, "fold", faulty)
    with pytest.raises(UserError) as raised:
        export(run, tmp_path / "bundle")
    line = str(raised.value)
    assert line.startswith("frame_tier_1.onnx: computes other conditioning than the model, by up to 0.01; ")
    assert line.endswith("export another `checkpoint`; if that fails too, report it: it is a defect of Slash")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_chance_explains_is_no_reason_to_refuse(bundle: Bundle) -> None:
    found = bundle.manifest.variants[1].fidelity
    assert found is not None
    lossy = found.model_copy(update={"bits": found.fp32_bits + 0.015})
    check_fidelity("int8", lossy, standard_error=0.005)
    for standard_error in (0.0, 0.001):
        with pytest.raises(UserError, match=r"loses 0\.0150 bits"):
            check_fidelity("int8", lossy, standard_error)


def test_weights_that_a_precision_cannot_hold_are_one_line(run: Run, tmp_path: Path) -> None:
    trained = run.load_model("best")
    assert trained.model.sample_tier is not None
    trained.model.sample_tier.output.bias.data[7] = -1e5
    with pytest.raises(UserError, match="`precision` fp16: cannot hold this model's weights; leave it out"):
        write_unchecked(tmp_path, trained, ["fp16"])
    trained.model.sample_tier.output.bias.data[7] = np.inf
    with pytest.raises(UserError, match="too large for float32"):
        write_unchecked(tmp_path, trained)


def test_a_graph_over_the_size_of_an_onnx_file_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_BYTES", 100_000)
    with pytest.raises(UserError, match=r"sample_tier\.onnx: would hold .+ GB .+; train with a smaller model\.width"):
        write_unchecked(tmp_path, run.load_model("best"))


def _copy(bundle: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(bundle.path, folder))


def _describe_again(folder: Path, name: str) -> None:
    """Update the manifest after a file was changed, as a defective export would have written it."""
    content = read_json(folder / MANIFEST, "a manifest", "export again")
    variant = content["variants"][0]
    for entry in (
        *variant["frame_tiers"],
        variant["sample_tier"],
        *(t["initial_state"] for t in content["frame_tiers"]),
    ):
        if entry["file"] == name:
            entry.update(describe_file(folder / name).model_dump())
    write_json(folder / MANIFEST, content)
