"""The whole path, from recordings to a gallery: what `slash demo` does, with the library that the commands call."""

import math
from contextlib import suppress
from functools import partial
from pathlib import Path

import typer

from slash_cli.again import again
from slash_cli.bench import measure_and_print
from slash_cli.console import stdout
from slash_cli.engine_options import choose_engine
from slash_cli.gallery import print_gallery
from slash_cli.generate import generate
from slash_cli.generate_jobs import print_rendered
from slash_cli.held_out import held_out_recording
from slash_cli.info import print_bundle
from slash_cli.next_step import say_resume
from slash_cli.prepare import print_corpus
from slash_cli.training_progress import print_outcome, training_context
from slash_export.bundle_writer import export
from slash_infer.audio.spectrogram import draw_spectrogram
from slash_infer.bundle import Bundle
from slash_infer.clips.render import render
from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_infer.gallery.find import count_clips, find_sections
from slash_infer.gallery.page import make_gallery
from slash_infer.sampling.engine import Engine
from slash_infer.signals import stop_signals
from slash_train import loop
from slash_train.config import Preset, load_preset
from slash_train.corpus import Corpus
from slash_train.devices import choose_device
from slash_train.guitar import record
from slash_train.prepare import prepare
from slash_train.run import Run
from slash_train.run_lock import require_untrained

RECORDED_MINUTES = 4.0
HELD_OUT = 0.15  # of the recordings, for validation, and as much again for testing
CLIPS, CLIP_SECONDS, SEED = 4, 5.0, 1
METADATA, MADE_BY = "demo.json", "slash demo"


def run_demo(out: Path, *, minutes: float, preset: str, listen: bool, force: bool) -> None:
    """Record, prepare, train, export and generate, in a folder.

    Args:
        out: the folder.
        minutes: of training.
        preset: to train.
        listen: whether to play the model that comes with Slash first. Ctrl-C ends that alone.
        force: replace an earlier demo.
    """
    say = stdout().print
    configuration = load_preset(preset)  # an unknown name is refused now, before minutes of work
    check_directory_output(out, force=force, metadata=METADATA, made_by=MADE_BY)
    require_untrained(out / "run")
    if listen:
        with suppress(typer.Exit):
            generate(play=True)
    say(f"1/5 recording {RECORDED_MINUTES:g} minutes of synthetic guitar")
    with atomic_directory(out, force=force, metadata=METADATA, made_by=MADE_BY) as folder:
        write_json(folder / METADATA, {"made_by": MADE_BY, "note": "slash demo --force replaces this folder"})
        record(folder / "recordings", RECORDED_MINUTES)
    say("2/5 preparing the corpus")
    print_corpus(out / "corpus", prepare([out / "recordings"], out / "corpus", valid=HELD_OUT, test=HELD_OUT))
    say(f"3/5 training preset {preset} for {minutes:g} minutes")
    run = _train(out, preset, configuration, minutes)
    say("4/5 exporting")
    print_bundle(out / "bundle", export(run, out / "bundle", precisions=["int8"]))
    say(f"5/5 generating {CLIPS} clips and measuring the speed")
    bundle = Bundle(out / "bundle")
    engine = choose_engine(bundle)
    _generate(out / "clips", bundle, engine)
    take = out / "recordings" / "take-1.wav"
    draw_spectrogram(take, take.with_suffix(".png"), f"{take.stem}: recorded")
    one, *_ = measure_and_print(bundle, [1, 8], seconds=1.0, engine=engine)
    sections = find_sections([out / "clips", run.path], held_out_recording)
    make_gallery(sections, out / "page", "Slash demo", lambda: None)
    print_gallery(out / "page", count_clips(sections))
    say(f"Listen:  {out / 'clips'}/*.wav, each with its spectrogram beside it, or all on {out / 'page'}/index.html")
    learned = bundle.manifest.provenance.valid_bits
    say(f"Learned: {learned:.3f} bits/sample on takes it never heard (8 know nothing)")
    say(f"Speed:   {one.realtime_clip:.2f} x realtime for one clip, without PyTorch")
    say(f"More:    slash generate {bundle.path} --out more.wav --seconds 30 --candidates 1 --no-restart")


def _train(out: Path, preset: str, configuration: Preset, minutes: float) -> Run:
    """Train a run.

    Raises:
        Exit: a signal stopped it; what there is, is saved.
    """
    corpus, limits = Corpus(out / "corpus"), loop.Limits(minutes=minutes)
    with training_context(choose_device("auto"), previews=True) as context:
        outcome = loop.train(corpus, out / "run", preset, configuration, limits=limits, context=context)
    print_outcome(outcome)
    if outcome.stopped_by is not None:
        say_resume(corpus.path, outcome.run.path, minutes=math.ceil(minutes))
        raise typer.Exit(128 + outcome.stopped_by)
    return outcome.run


def _generate(folder: Path, bundle: Bundle, engine: Engine) -> None:
    """Render clips with their spectrograms, plainly: candidates avoid attacks, and the guitarist's notes are long.

    Raises:
        Exit: a signal stopped it; the clips are shorter.
    """
    options = RenderOptions(seconds=CLIP_SECONDS, seed=SEED, candidates=1, restart=False)
    specs = [ClipSpec(folder / f"clip-{i:04d}.wav", i) for i in range(CLIPS)]
    command = partial(again, str(bundle.path), engine, options)
    with stop_signals() as signals:
        rendered = render(bundle, engine, specs, options, again=command, stop=lambda: signals)
    print_rendered(folder, rendered, SEED)
    if signals:
        raise typer.Exit(128 + signals[0])
    for wav in (spec.file for spec in specs):
        draw_spectrogram(wav, wav.with_suffix(".png"), f"{wav.stem}: generated")
