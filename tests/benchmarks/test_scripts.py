"""The benchmark scripts run, and their baselines compute what they claim to."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from baseline import Baseline
from eager_generation import EagerGeneration

from slash_infer.bundle import Bundle
from slash_infer.codec import Codec
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer, bits_per_sample
from slash_train.model import SampleRNN
from slash_train.run import Run

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"


def _run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_held_out_bits_and_learning_curve(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    scores, curve = tmp_path / "scores.json", tmp_path / "curve.png"
    _run("held_out_bits.py", run.path, corpus.path, "--json", scores)
    _run("learning_curve.py", run.path, scores, "--out", curve)
    content = json.loads(scores.read_text())
    bits = content["bits_per_sample"]
    assert bits["order 1"]["test"] < bits["order 0"]["test"] < 8.5
    assert content["step"] == run.checkpoints.find("best").trainer_state().step
    assert curve.read_bytes().startswith(b"\x89PNG")


def test_the_page_on_reliability_has_what_was_counted() -> None:
    written = _load("reliability")
    counted, soaked = (json.loads(path.read_text()) for path in (written.COUNTS, written.SOAK))
    assert written.PAGE.read_text(encoding="utf-8") == written.page(counted, soaked)


def test_a_clip_is_drawn_above_a_recording(recordings: Path, tmp_path: Path) -> None:
    (first, second, *_) = sorted(recordings.iterdir())
    _run("beside.py", first, second, "--start", "1", "--out", tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


SMALL = ("--set", "model.width=32", "--set", "training.batch_size=4", "--set", "training.window=256")


def test_train_speed_compares_three_ways_of_one_step(tmp_path: Path) -> None:
    printed = _run("train_speed.py", "--preset", "tiny", "--rounds", "2", *SMALL, "--json", tmp_path / "speed.json")
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["samples_per_second"].keys() == {"slash", "plain layers", "baseline"}
    assert all(len(seconds) == 2 for seconds in content["seconds_per_round"].values())
    assert 0 < sum(content["share_of_time"].values()) <= 1
    assert "1.00 x baseline" in printed


@pytest.mark.slow
def test_fine_tuning_learns_more_from_weights_than_from_nothing(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "fine_tuning.json"
    options = ("--init-from", run.path, "--preset", "tiny", "--minutes", "0.01", "--from-nothing", "0.005")
    printed = _run("fine_tuning.py", corpus.path, *options, "--json", out)
    content = json.loads(out.read_text())
    weights, nothing = content["results"]  # the longest first
    assert nothing["name"] == "0.005 minutes from nothing, seed 0" and printed.count("|\n") == 4
    assert weights["bits"]["test"] < nothing["bits"]["test"]
    assert [one["step"] for one in content["ancestors"]] == [150]


@pytest.mark.slow  # eight processes that load PyTorch
def test_architectures_get_equal_parameters(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "architectures.json"
    short = ("--cpu-seconds", "0.2", "--rounds", "2", "--run-seconds", "0.01")
    settings = ("--parameters", "60000", *short, "--set", "training.clip_seconds=1.0")
    printed = _run("architectures.py", corpus.path, *settings, "--json", out)
    content = json.loads(out.read_text())
    wavenets, tiers = content["results"][:2], content["results"][2:]
    assert len(tiers) == 5 and printed.count("|\n") == 9
    for result in tiers:
        assert result["parameters"] == pytest.approx(60_000, rel=0.2)
    for result in wavenets + tiers:
        assert result["steps"] >= 1 and 0 < result["ema_bits"]["test"] < 20
    assert len(content["speeds"]) == 8
    for speed in content["speeds"].values():
        assert speed["products"] > 1000 and speed["realtime"] > 0 and len(speed["samples_per_second"]) == 2


def test_a_wavenet_generates_what_it_predicts() -> None:
    """Sample by sample, from what its layers have kept, it finds the probabilities that it has for whole clips."""
    wavenet, codec = _load("wavenet"), Codec()
    shape = wavenet.Shape(channels=6, skips=8, stacks=2, layers=3)
    assert shape.receptive_field == 1 + 2 * (1 + 2 + 4)
    torch.manual_seed(0)
    model = wavenet.WaveNet(shape, codec.levels)
    codes = torch.randint(0, codec.levels, (2, shape.receptive_field + 20))
    changed = codes.clone()
    changed[:, shape.receptive_field + 3] = (changed[:, shape.receptive_field + 3] + 100) % codec.levels
    moved = (model(codes) != model(changed)).any(dim=-1).any(dim=0)
    assert not moved[:4].any()  # logits t depend on receptive_field codes, from code t on
    assert moved[4 : shape.receptive_field + 4].all()
    changed = codes.clone()
    changed[:, 3] = (changed[:, 3] + 100) % codec.levels
    moved = (model(codes) != model(changed)).any(dim=-1).any(dim=0)
    assert moved[:4].all() and not moved[4:].any()
    following = torch.cat([torch.full((1, shape.receptive_field), codec.silence), codes[:1]], dim=1)
    expected = model(following).softmax(dim=-1).cumsum(dim=-1)[0, 1:].detach()
    steps = wavenet.Steps(model, codec.silence)
    found = np.array([steps.advance(int(code)) for code in codes[0]])
    assert torch.allclose(torch.tensor(found), expected, atol=1e-5)


def test_linear_predictors_give_true_likelihoods_and_learn() -> None:
    nlms, codec = _load("nlms"), Codec()
    rng = np.random.default_rng(0)
    time = np.arange(4000) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * 330 * time) + 0.2 * np.sin(2 * np.pi * 495 * time)
    codes = codec.encode((sound + 0.001 * rng.standard_normal(len(time))).astype(np.float32))
    cascade, bits = nlms.Cascade(codec, 1), list[float]()
    for code in codes:
        if len(bits) % 500 == 0:
            probabilities = cascade.probabilities()[0]
            assert probabilities.sum() == pytest.approx(1) and (probabilities > 0).all()
        learned = cascade.learn(np.array([code]))[0]
        if len(bits) % 500 == 0:
            assert learned == pytest.approx(probabilities[code])
        bits.append(-np.log2(learned))
    assert np.mean(bits[-1000:]) < np.mean(bits[:100]) - 1
    pcm = np.round(sound * 32767).astype(np.int16)
    together = nlms.nlms_bits(codec, [pcm, pcm[:1000]])
    apart = [nlms.nlms_bits(codec, [pcm]) * 4000, nlms.nlms_bits(codec, [pcm[:1000]]) * 1000]
    assert together == pytest.approx(sum(apart) / 5000)


def test_what_a_sample_costs_is_counted() -> None:
    """Of a preset, against a count by hand."""
    preset = load_preset("tiny", ["model.cell=lstm", "model.rnn_layers=1"])
    model, bundle = _load("racing").untrained(preset, "tiny")
    shape, products = preset.model, 0.0
    for tier in model.tiers():
        inputs = tier.frame_size + shape.width * (1 if tier.is_top else 2)  # a frame, the tier above, the state
        products += (4 * shape.width * inputs + tier.upsample.weight.numel()) / tier.hop
    products += shape.width**2 * (shape.mlp_layers - 2) + 256 * shape.width
    cost = _load("graph_cost")
    for precision in ("fp32", "int8"):
        counted = cost.graph_costs(bundle, precision)
        assert cost.products_a_sample(counted) == pytest.approx(products)
        assert (sum(one.int8_products for one in counted) > 0) == (precision == "int8")
    exact = sum(one.weight_bytes for one in cost.graph_costs(bundle, "fp32"))
    assert exact == pytest.approx(4 * products)


def test_what_clips_share_with_unseen_recordings(corpus: Corpus, tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "copies.json"
    clips.mkdir()
    pcm = corpus.pcm[: 4 * corpus.sample_rate]
    soundfile.write(clips / "copied.wav", pcm, corpus.sample_rate)
    printed = _run("copies.py", corpus.path, "--clips", clips, "--json", out)
    content = json.loads(out.read_text())
    longest = max(one["longest"] for one in content["learned"])
    assert longest > content["unseen"]["longest"] and longest > 1 and "unseen: 1 x" in printed


@pytest.mark.slow
def test_levels_are_scored_by_the_same_codes(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    out = tmp_path / "levels.json"
    settings = ("--preset", "tiny", "--seconds", "0.2", "--seeds", "1", "--levels", "256", "--levels", "1024")
    _run("levels.py", corpus.path, *settings, "--json", out)
    content = json.loads(out.read_text())
    assert all(0 < result["bits"]["test"] < 20 for result in content["results"])
    ratios = content["signal_to_noise_db"]
    assert ratios["1024"] > ratios["256"] + 8
    levels, codec = _load("levels"), tiny.audio.codec
    assert codec.levels == 256
    model = SampleRNN(tiny.model, codec)
    scorers = levels.CoarseScorer(model, codec), ModelScorer(model, codec)
    merged, plain = (bits_per_sample(scorer, corpus, "test", at_most_seconds=1) for scorer in scorers)
    assert merged == pytest.approx(plain, abs=1e-5)
    codec = Codec(levels=1024)
    model = SampleRNN(tiny.model, codec)
    scorers = levels.CoarseScorer(model, codec), ModelScorer(model, codec)
    merged, finer = (bits_per_sample(scorer, corpus, "test", at_most_seconds=1) for scorer in scorers)
    assert finer - 3 < merged < finer - 1  # two bits tell four codes apart


@pytest.mark.slow
def test_first_minutes_pits_the_preset_against_the_baseline(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "first.json"
    arguments = ("--preset", "tiny", "--minutes", "0.02", "--out", tmp_path / "run", "--json", out)
    _run("first_minutes.py", corpus.path, *arguments)
    ours, theirs = json.loads(out.read_text())["results"]
    assert (ours["name"], theirs["name"]) == ("slash, preset tiny", "baseline, three tiers (4, 16)")
    assert ours["steps"] >= 1 and theirs["steps"] >= 1
    assert (tmp_path / "run" / "learning_curve.png").exists()


def test_the_baseline_is_the_same_model(tiny: Preset) -> None:
    """With the weights of Slash's model, it gives the same logits and states."""
    torch.manual_seed(0)
    shape = tiny.model.model_copy(update={"cell": "lstm"})
    ours, theirs = SampleRNN(shape, Codec(kind="linear")).double(), Baseline(shape, 256).double()
    assert ours.sample_tier is not None
    mlp, other_mlp = ours.sample_tier, theirs.sample_tier
    with torch.no_grad():
        for tier, other in zip(ours.tiers(), theirs.frame_tiers, strict=True):
            _copy_tier(tier, other)
        other_mlp.embedding.weight.copy_(mlp.embedding.weight)
        other_mlp.first.weight = mlp.first.flatten(0, 1).T.detach()
        pairs = [*zip(mlp.hidden, other_mlp.hidden, strict=True), (mlp.output, other_mlp.output)]
        for linear, other in pairs:
            _copy_linear(linear, other)
    codes = torch.randint(0, 256, (2, 16 + 64))
    expected, states = ours(codes, ours.initial_state(2))
    actual, their_states = theirs(codes, theirs.initial_state(2))
    assert torch.allclose(actual, expected, atol=1e-5)  # Slash rounds frame values to float32
    for a, b in zip(their_states, states, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def _copy_tier(tier: Any, other: Any) -> None:
    """Copy weights. The baseline's top tier projects its frames first: here, the RNN's input weights undo that."""
    rnn = tier.recurrence.rnns[0]
    if tier.input is None:
        other.input.bias.zero_()
        other.rnn.weight_ih_l0.copy_(rnn.weight_ih_l0 @ torch.linalg.pinv(other.input.weight))
    else:
        _copy_linear(tier.input, other.input)
        other.rnn.weight_ih_l0.copy_(rnn.weight_ih_l0)
    for name in ("weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        getattr(other.rnn, name).copy_(getattr(rnn, name))
    _copy_linear(tier.upsample, other.upsample)


def _copy_linear(linear: Any, other: Any) -> None:
    other.weight = linear.weight.detach()  # sets its weight normalisation's parameters
    other.bias.copy_(linear.bias)


def test_generation_is_measured_against_an_eager_loop(tmp_path: Path) -> None:
    result = tmp_path / "speed.json"
    quick = [
        "--preset",
        "tiny",
        "-n",
        "1,3",
        "--rounds",
        "2",
        "--run-seconds",
        "0.02",
        "--against",
        "model.history=3",
    ]
    assert "x realtime" in _run("generate_speed.py", *quick, "--json", result)
    rates = json.loads(result.read_text())["samples_per_second"]
    assert rates.keys() == {"1", "3"}
    for rate in rates.values():
        assert all(value > 0 for value in rate.values())
        assert {"eager, 1 thread", "cpu fp32, 1 thread", "cpu int8, 1 thread"} <= rate.keys()
        assert {"cpu fp32, model.history=3", "cpu int8, model.history=3"} <= rate.keys()


def test_batch_invariance_is_measured(bundle: Bundle, tmp_path: Path) -> None:
    result = tmp_path / "invariance.json"
    quick = ["--most", "3", "--seconds", "0.02", "--rounds", "2"]
    assert "none differ padded" in _run("batch_invariance.py", bundle.path, *quick, "--json", result)
    results = json.loads(result.read_text())["results"]
    assert [line["precision"] for line in results] == ["fp32", "int8", "fp16"]
    for line in results:
        assert line["samples"] == 320 and line["padded_batches_that_differ"] == []
        assert line["ratio"] == line["padded_samples_per_second"] / line["unpadded_samples_per_second"] > 0


@pytest.mark.parametrize(
    "overrides",
    [[], ["model.cell=gru", "model.weight_norm=true"], ["model.frame_sizes=[20,16]", "model.history=6"]],
)
def test_the_eager_loop_is_the_same_model(monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> None:
    """Taking the most likely code instead of drawing one, it finds the codes that are most likely for the model."""
    preset = load_preset("tiny", overrides)
    torch.manual_seed(0)
    model = SampleRNN(preset.model, Codec()).eval()
    monkeypatch.setattr(torch, "multinomial", lambda p, _: p.argmax(dim=-1, keepdim=True))
    generated = EagerGeneration(model, 2, 128).generate(128)
    codes = torch.cat([torch.full((2, preset.model.context), 128), generated], dim=1)
    with torch.inference_mode():
        logits, _ = model(codes, model.initial_state(2))
    assert (logits.argmax(dim=-1) == generated).float().mean() > 0.99  # except ties
    assert len(set(generated.flatten().tolist())) > 2


def test_streaming_is_profiled(bundle: Bundle, tmp_path: Path) -> None:
    result = tmp_path / "streaming.json"
    printed = _run("streaming.py", bundle.path, "--minutes", "0.05", "--rounds", "2", "--json", result)
    assert "us, of which Python" in printed and "after the first second" in printed
    content = json.loads(result.read_text())
    frame, memory = content["frame"], content["memory"]
    assert frame["runs"] == 1 + 2 * 4  # the top tier, then four times the lowest and the sample tier
    assert 0 < frame["uniforms_microseconds"] + frame["decoding_microseconds"] < frame["python_microseconds"]
    assert frame["python_share"] == pytest.approx(frame["python_microseconds"] / frame["microseconds"])
    assert memory["seconds"] == 3.0 and memory["peak_mb"] >= memory["after_first_second_mb"] > 0


def test_the_sound_of_a_bundle_and_of_clips_is_measured(bundle: Bundle, corpus: Corpus, tmp_path: Path) -> None:
    made, again = tmp_path / "made.json", tmp_path / "again.json"
    few = ("-n", "2", "--seconds", "2", "--seed", "3", "--seed", "4", "--keep", tmp_path / "clips")
    printed = _run("sound.py", corpus.path, "--bundle", bundle.path, *few, "--json", made)
    assert "harmonicity" in printed and "recordings" in printed
    content = json.loads(made.read_text())
    assert [one["seed"] for one in content["rounds"]] == [3, 4] and len(content["rounds"][0]["each"]) == 2
    distances = [one["clips_score"]["distance"] for one in content["rounds"]]
    assert content["mean"]["distance"] == pytest.approx(sum(distances) / 2)
    _run("sound.py", corpus.path, "--clips", tmp_path / "clips" / "seed-4", "--json", again)
    (found,) = json.loads(again.read_text())["rounds"]
    assert found["clips_score"] == content["rounds"][1]["clips_score"]


def test_the_tables_in_the_documents_are_those_of_the_results() -> None:
    tables, found = _load("tables"), set()
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert text == tables.with_tables(text), f"python benchmarks/tables.py would change {page.name}"
        found |= set(re.findall(r"<!-- table: ([\w ]+) -->", text))
    assert found == tables.TABLES.keys()
    empty = "<!-- table: copies -->\n<!-- end of table -->\n"
    twice = tables.with_tables(f"{empty}between\n{empty}")
    assert twice == tables.with_tables(twice) and twice.count("between\n") == 1 and twice.count("| seed 0") == 6
    with pytest.raises(KeyError, match="unknown"):
        tables.with_tables("<!-- table: unknown -->\n\n<!-- end of table -->")


@pytest.mark.slow
def test_how_near_to_the_machine(tmp_path: Path) -> None:
    out = tmp_path / "roofline.json"
    _run("roofline.py", "--presets", "tiny", "--rounds", "1", "--run-seconds", "0.01", "--json", out)
    content = json.loads(out.read_text())
    assert [one["name"] for one in content["generation"]] == [
        f"tiny, {precision}, {clips}" for clips in ("1 clip", "32 clips") for precision in ("fp32", "int8")
    ]
    for one in content["generation"]:
        assert one["products"] == content["generation"][0]["products"] and one["operators"] > 10
        assert 0 < one["samples_per_second"] < 2 * min(one["products_bound"], one["bytes_bound"])
    assert 0 < content["training"]["tiny"]["share"] < 2


def test_what_grows_is_said() -> None:
    watched = _load("soak").Watched()
    watched.megabytes = [50.0] * 10 + [100.0] * 10 + [101.0] * 20
    watched.handles, watched.threads = [7] * 39 + [9], [4] * 30 + [5] * 10
    assert watched.verdict() == (["threads"], "100 to 101 MB, 7 to 7 handles, 4 to 5 threads")


@pytest.mark.slow
def test_training_and_generating_are_watched(tmp_path: Path) -> None:
    """What grows shows in the exit code."""
    result = tmp_path / "soak.json"
    command = [sys.executable, str(SCRIPTS / "soak.py"), "--minutes", "0.5", "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"^training: .+\ngenerating: .+\n$", done.stdout), done.stderr
    assert done.returncode == ("grew" in done.stdout)  # training warms up for longer than this
    assert all(len(one["handles"]) > 200 for one in json.loads(result.read_text())["results"].values())


@pytest.mark.slow
def test_what_a_new_user_does_is_timed(tmp_path: Path) -> None:
    """It builds and installs a wheel of what is committed."""
    out = tmp_path / "new_user.json"
    _run("new_user.py", "--only", "wheel", "--json", out)
    steps = json.loads(out.read_text())["results"]["wheel"]
    assert [step for step, _ in steps][-1] == "`slash generate --out riff.wav`"
    assert all(seconds > 0 for _, seconds in steps)


@pytest.mark.slow
def test_how_cost_grows(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    small = ("--most-clips", "2", "--widest", "64", "--rounds", "1", "--run-seconds", "0.01")
    _run("scaling.py", "--hours", "0.005", "--seconds", "1.5,2", *small, "--json", out)
    content = json.loads(out.read_text())
    assert [point["value"] for point in content["generation"]["clips"]] == ["1", "2"]
    assert content["generation"].keys() == {"clips", "threads", "width", "tiers"}
    assert [one["seconds"] for one in content["stream"]] == [1.5, 2]
    (corpus,) = content["corpus"]
    assert corpus["peak_megabytes"] > 20 and corpus["bytes"] == pytest.approx(2 * 16_000 * 18, rel=0.1)
