"""Training on real files: it learns, stops when told, and resumes as if it had not stopped."""

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ON_CPU
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from slash_infer.codec import Codec
from slash_infer.errors import UserError
from slash_train import evaluate, loop
from slash_train.clips import Clip, cut_clips
from slash_train.config import Preset, change_preset, load_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import CLIP_SECONDS, ModelScorer, bits_per_sample
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN
from slash_train.prepare import prepare
from slash_train.run import Run
from slash_train.streams import Window, read_once

CPU = torch.device("cpu")


def _resume(corpus: Corpus, out: Path, steps: int) -> loop.Outcome:
    return loop.resume(corpus, out, preset=Run(out).preset, limits=loop.Limits(steps), context=ON_CPU)


def test_training_lowers_the_loss_on_a_real_file(shared_audio: Path, tmp_path: Path) -> None:
    prepare([shared_audio / "solos" / "solo-01.flac"], tmp_path / "corpus")
    preset = load_preset("tiny", ["training.checkpoint_every=100"])
    done = loop.train(
        Corpus(tmp_path / "corpus"), tmp_path / "run", "tiny", preset, limits=loop.Limits(200), context=ON_CPU
    )
    first, *_, last = [m for m in done.run.metrics() if m.valid_bits is not None]
    assert last.valid_bits is not None and first.valid_bits is not None
    assert last.valid_bits < first.valid_bits < 8.0
    assert done.best_bits == last.valid_bits


def test_a_run_logs_everything(run: Run, tiny: Preset) -> None:
    metrics = list(run.metrics())
    assert [m.step for m in metrics] == [25, 50, 75, 100, 125, 150]
    assert [m.step for m in metrics if m.valid_bits is not None] == [50, 100, 150]
    assert metrics[-1].samples == 150 * tiny.training.batch_size * tiny.training.window
    assert metrics[-1].train_bits < metrics[0].train_bits < 8.5
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("bits_per_sample/valid")] == [50, 100, 150]
    assert run.preset == tiny


def test_the_best_checkpoint_scores_what_it_says(run: Run, corpus: Corpus) -> None:
    trained = run.load_model("best")
    scorer = ModelScorer(trained.model, run.preset.audio.codec)
    again = bits_per_sample(scorer, corpus, "valid", at_most_seconds=run.preset.training.valid_seconds)
    assert again == pytest.approx(trained.valid_bits, abs=1e-5)
    assert trained.valid_bits == run.checkpoints.find("best").trainer_state().valid_bits
    assert trained.valid_bits == min(m.valid_bits for m in run.metrics() if m.valid_bits is not None)


def test_resuming_is_bit_exact(corpus: Corpus, tiny: Preset, run: Run, tmp_path: Path) -> None:
    """150 steps at once (the fixture) against 60 and 90 more: weights, Adam's moments, RNN state and metrics."""
    out = tmp_path / "run"
    loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(60), context=ON_CPU)
    _resume(corpus, out, 150)
    resumed = Run(out)
    for name in ("model", "optimiser", "state"):
        expected = load_file(run.checkpoints.find("last").path / f"{name}.safetensors")
        actual = load_file(resumed.checkpoints.find("last").path / f"{name}.safetensors")
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected), name
    scored = [[m.valid_bits for m in r.metrics() if m.step in (100, 150)] for r in (run, resumed)]
    assert scored[0] == scored[1]
    assert [m.step for m in resumed.metrics()] == [25, 50, 60, 75, 100, 125, 150]


def test_resuming_forgets_what_was_logged_after_the_checkpoint(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(50), context=ON_CPU)
    (stray,) = [m for m in done.run.metrics() if m.step == 50]
    done.run.log(stray.model_copy(update={"step": 75}))
    _resume(corpus, out, 60)
    assert [m.step for m in Run(out).metrics()] == [25, 50, 60]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(corpus: Corpus, tiny: Preset, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    before = signal.getsignal(number)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    done = loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(10**6), context=ON_CPU)
    assert done.stopped_by == number
    assert Run(out).checkpoints.find("last").trainer_state().step == done.step > 0
    assert signal.getsignal(number) == before


def test_minutes_stop_a_run(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    done = loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(10**6, minutes=0.01), context=ON_CPU)
    assert done.step > 0 and done.run.checkpoints.find("last").trainer_state().seconds < 10


def test_without_a_validation_split_the_last_is_the_best(recordings: Path, tiny: Preset, tmp_path: Path) -> None:
    prepare([recordings], tmp_path / "corpus", valid=0, test=0)
    done = loop.train(
        Corpus(tmp_path / "corpus"), tmp_path / "run", "tiny", tiny, limits=loop.Limits(60), context=ON_CPU
    )
    assert done.best_bits is None
    assert done.run.checkpoints.find("best").path.name == "step-00000060"


def test_divergence_is_reported_and_the_last_good_checkpoint_kept(
    corpus: Corpus, tiny: Preset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(50), context=ON_CPU)
    metadata = json.loads((out / "run.json").read_text())
    metadata["preset"]["training"]["learning_rate"] = 1e30
    (out / "run.json").write_text(json.dumps(metadata))
    with pytest.raises(
        UserError, match=r"training diverged: the gradient of step 5\d is not finite, on windows of take-\d"
    ):
        _resume(corpus, out, 100)
    checkpoint = Run(out).checkpoints.find("last")
    assert checkpoint.path.name == "step-00000050"
    assert all(tensor.isfinite().all() for tensor in load_file(checkpoint.path / "model.safetensors").values())


def test_a_corpus_that_does_not_fit_is_refused_before_anything_is_made(corpus: Corpus, tmp_path: Path) -> None:
    for override, says in (
        ("audio.sample_rate=8000", "is at 16000 Hz and the preset at 8000 Hz"),
        (
            "training.window=1600000",
            r"without long pauses, less than a window of 1600000 for each of 8 lanes",
        ),
        (
            "training.batch_size=65536",
            r"without long pauses, less than a window of 256 for each of 65536 lanes",
        ),
    ):
        with pytest.raises(UserError, match=says):
            loop.train(
                corpus,
                tmp_path / "run",
                "tiny",
                load_preset("tiny", [override]),
                limits=loop.Limits(1),
                context=ON_CPU,
            )
    assert list(tmp_path.iterdir()) == []


def test_bits_per_sample_is_the_mean_over_every_sample(corpus: Corpus, tiny: Preset) -> None:
    """A model whose logits are constant costs exactly the cross-entropy of that constant distribution."""
    torch.manual_seed(0)
    model = SampleRNN(tiny.model, Codec())
    assert model.sample_tier is not None
    torch.nn.init.zeros_(model.sample_tier.output.weight)
    model.sample_tier.output.bias.data = torch.randn(256)
    log2_p = model.sample_tier.output.bias.log_softmax(0).double() / math.log(2)
    (region,) = corpus.regions("valid")
    codes = tiny.audio.codec.encode_pcm16(corpus.pcm[region.start : region.start + region.length])
    expected = -log2_p[torch.from_numpy(codes).long()].mean().item()
    assert bits_per_sample(ModelScorer(model, tiny.audio.codec), corpus, "valid") == pytest.approx(expected, abs=1e-5)


def test_metrics_lines_are_strict() -> None:
    with pytest.raises(ValueError, match="extra"):
        Metrics.model_validate_json('{"step": 1, "surprise": 2}')


def test_scoring_part_of_a_split_leaves_out_no_more_than_it_must(corpus: Corpus, tiny: Preset) -> None:
    model = SampleRNN(tiny.model, Codec())
    clips = len(cut_clips(corpus, "train", CLIP_SECONDS))
    seconds = corpus.length("train") / corpus.sample_rate
    counted: list[int] = []

    def counting(of: Corpus, kept: list[Clip], *rest: Any) -> Iterator[tuple[list[int], Window]]:
        counted.append(len(kept))
        return read_once(of, kept, *rest)

    for at_most in (seconds, seconds * 0.99, seconds / 2, 0.001):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "read_once", counting)
            bits_per_sample(ModelScorer(model, tiny.audio.codec), corpus, "train", at_most_seconds=at_most)
    assert counted == [clips, clips - 1, clips // 2, 1]


def test_a_signal_between_two_checkpoints_still_saves(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    """The signal arrives during a report, when no checkpoint is due."""

    def report(metrics: Metrics, *_: object) -> None:
        if metrics.step == 25:
            os.kill(os.getpid(), signal.SIGTERM)

    done = loop.train(
        corpus,
        tmp_path / "run",
        "tiny",
        tiny,
        limits=loop.Limits(10**6),
        context=loop.TrainContext(CPU, report=report),
    )
    assert done.stopped_by == signal.SIGTERM and done.step == 26  # the step in progress is finished
    state = Run(tmp_path / "run").checkpoints.find("last").trainer_state()
    assert state.step == 26 and state.unlogged.samples > 0


def test_a_run_that_diverges_at_once_is_never_saved(corpus: Corpus, tmp_path: Path) -> None:
    preset = load_preset("tiny", ["training.learning_rate=1e30"])
    with pytest.raises(UserError, match="training diverged"):
        loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(3), context=ON_CPU)
    with pytest.raises(UserError, match="train it first"):
        Run(tmp_path / "run").checkpoints.find("best")


def test_resuming_on_another_corpus_is_refused(
    corpus: Corpus, recordings: Path, tiny: Preset, tmp_path: Path
) -> None:
    loop.train(corpus, tmp_path / "run", "tiny", tiny, limits=loop.Limits(25), context=ON_CPU)
    prepare([recordings], tmp_path / "again")
    assert Corpus(tmp_path / "again").fingerprint() == corpus.fingerprint()
    prepare([recordings], tmp_path / "other", sample_rate=16_000, channel="left", valid=0)
    with pytest.raises(UserError, match="is not the corpus the run was started on"):
        _resume(Corpus(tmp_path / "other"), tmp_path / "run", 50)


def test_a_line_cut_short_by_a_crash_does_not_stop_a_resume(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    loop.train(corpus, out, "tiny", tiny, limits=loop.Limits(50), context=ON_CPU)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 75, "sam')
    _resume(corpus, out, 60)
    assert [m.step for m in Run(out).metrics()] == [25, 50, 60]


@pytest.mark.parametrize(
    "name",
    ["trainer_state.json", "state.safetensors", "optimiser.safetensors", "model.safetensors", "ema.safetensors"],
)
def test_a_damaged_checkpoint_is_refused_by_name(corpus: Corpus, tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    preset = load_preset("tiny", ["training.ema_decay=0.9"])
    loop.train(corpus, out, "tiny", preset, limits=loop.Limits(25), context=ON_CPU)
    path = out / "checkpoints" / "step-00000025" / name
    for content in (b"{}", b"", path.read_bytes()[:-7]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: "):
            _resume(corpus, out, 50)


def test_weights_that_score_no_number_are_never_saved(corpus: Corpus, tmp_path: Path) -> None:
    """One enormous step leaves finite weights that predict nothing."""
    preset = load_preset("tiny", ["training.learning_rate=1e30"])
    with pytest.raises(UserError, match="training diverged: the validation score at step 1 is"):
        loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(1), context=ON_CPU)
    assert Run(tmp_path / "run").checkpoints.is_empty()


def test_a_signal_at_a_checkpoint_saves_once(corpus: Corpus, tiny: Preset, tmp_path: Path) -> None:
    """The checkpoint is not written again without its score."""

    def report(metrics: Metrics, *_: object) -> None:
        if metrics.step == 25:
            os.kill(os.getpid(), signal.SIGTERM)

    preset = change_preset(tiny, ["training.checkpoint_every=26"])
    context = loop.TrainContext(CPU, report=report)
    done = loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(10**6), context=context)
    assert done.stopped_by == signal.SIGTERM and done.step == 26
    assert done.run.checkpoints.find("last").trainer_state().valid_bits == done.best_bits is not None


def test_a_corpus_that_was_moved_is_gone_on_with(
    corpus: Corpus, recordings: Path, tiny: Preset, tmp_path: Path
) -> None:
    """It is known by what it holds."""
    first, moved, run = tmp_path / "first", tmp_path / "moved", tmp_path / "run"
    prepare([recordings], first)
    loop.train(Corpus(first), run, "tiny", tiny, limits=loop.Limits(1), context=ON_CPU)
    first.rename(moved)
    prepare([recordings / "take-1.wav"], tmp_path / "other")
    with pytest.raises(UserError) as fault:
        _resume(Corpus(tmp_path / "other"), run, 2)
    assert str(fault.value) == (
        f"{tmp_path / 'other'}: is not the corpus the run was started on: it holds 1 recording, 0.1 minutes; "
        f"that one held 4 recordings, 0.4 minutes; go on with that one, at {first}, which is gone: "
        f"where it was moved, give that, or begin a new run on this one with `init_from` {run}"
    )
    _resume(Corpus(moved), run, 2)
    assert Run(run).corpus_path == moved
    _resume(corpus, run, 3)  # the same, prepared elsewhere


def test_a_run_that_diverges_before_its_first_checkpoint_is_not_to_be_gone_on_with(
    corpus: Corpus, tmp_path: Path
) -> None:
    preset = load_preset("tiny", ["training.learning_rate=1e30"])
    with pytest.raises(UserError, match=r"training diverged: .*; start a new run with a lower"):
        loop.train(corpus, tmp_path / "run", "tiny", preset, limits=loop.Limits(3), context=ON_CPU)


def test_weights_that_are_not_finite_are_never_saved(recordings: Path, tmp_path: Path) -> None:
    """Without a validation split nobody scores them."""
    prepare([recordings], tmp_path / "corpus", valid=0, test=0)
    preset = load_preset("tiny", ["training.learning_rate=1e39", "training.ema_decay=0.9"])
    with pytest.raises(UserError, match=r"training diverged: .* is not finite after step 1; start a new run"):
        loop.train(
            Corpus(tmp_path / "corpus"), tmp_path / "run", "tiny", preset, limits=loop.Limits(1), context=ON_CPU
        )
    assert Run(tmp_path / "run").checkpoints.is_empty()
