"""`slash demo`: the whole path, on recordings of its own, in minutes."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from slash_cli.console import optional_packages, stdout

RECORDED_MINUTES = 4.0
HELD_OUT = 0.15  # of the recordings, for validation, and as much again for testing
CLIPS, CLIP_SECONDS, SEED = 4, 5.0, 1
METADATA, MADE_BY = "demo.json", "slash demo"


def demo(
    out: Annotated[Path, typer.Option(help="A folder for everything the demo makes.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.01, help="Training time.")] = 4.0,
    preset: Annotated[str, typer.Option(help="Model to train.")] = "demo",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
) -> None:
    """Record a synthetic guitarist, train on it, export, generate clips, and show them in a gallery.

    \b
    slash demo
    slash demo --out demo-long --minutes 30
    """
    with optional_packages("demo"):
        from slash_cli.again import again
        from slash_cli.bench import measure_and_print
        from slash_cli.engine_options import choose_engine
        from slash_cli.info import print_bundle
        from slash_cli.prepare import print_corpus
        from slash_cli.training_progress import training_context
        from slash_export.bundle_writer import export
        from slash_infer.audio.spectrogram import draw_spectrogram
        from slash_infer.bundle import Bundle
        from slash_infer.clips.render import render
        from slash_infer.clips.spec import ClipSpec, RenderOptions
        from slash_infer.files import atomic_directory, check_directory_output, write_json
        from slash_infer.gallery.find import find_sections
        from slash_infer.gallery.page import make_gallery
        from slash_train import loop
        from slash_train.config import load_preset
        from slash_train.corpus import Corpus
        from slash_train.devices import choose_device
        from slash_train.guitar import record
        from slash_train.prepare import prepare

    say = stdout().print
    configuration = load_preset(preset)  # refused now, if at all, and not after minutes of work
    check_directory_output(out, force=force, metadata=METADATA, made_by=MADE_BY)
    with atomic_directory(out) as folder:
        write_json(folder / METADATA, {"made_by": MADE_BY, "note": "slash demo --force replaces this folder"})
        say(f"1/5 recording {RECORDED_MINUTES:g} minutes of synthetic guitar")
        record(folder / "recordings", RECORDED_MINUTES)

    say("2/5 preparing the corpus")
    print_corpus(out / "corpus", prepare([out / "recordings"], out / "corpus", valid=HELD_OUT, test=HELD_OUT))

    say(f"3/5 training preset {preset} for {minutes:g} minutes")
    with training_context(choose_device("auto"), previews=True) as context:
        limits = loop.Limits(minutes=minutes)
        trained = loop.train(
            Corpus(out / "corpus"), out / "run", preset, configuration, limits=limits, context=context
        )
    if trained.stopped_by is not None:
        say(f"{out / 'run'}: stopped, and saved at step {trained.step}")
        raise typer.Exit(128 + trained.stopped_by)

    say("4/5 exporting")
    print_bundle(out / "bundle", export(trained.run, out / "bundle", precisions=["int8"]))

    say(f"5/5 generating {CLIPS} clips and measuring the speed")
    bundle, clips = Bundle(out / "bundle"), out / "clips"
    engine = choose_engine(bundle)
    options = RenderOptions(seconds=CLIP_SECONDS, seed=SEED)
    specs = [ClipSpec(clips / f"clip-{i:04d}.wav", i) for i in range(CLIPS)]
    render(bundle, engine, specs, options, again=partial(again, str(bundle.path), engine, options))
    for wav in [spec.file for spec in specs]:
        draw_spectrogram(wav, wav.with_suffix(".png"), f"{wav.stem}: generated")
    take = out / "recordings" / "take-1.wav"
    draw_spectrogram(take, take.with_suffix(".png"), "take-1: recorded")
    one, *_ = measure_and_print(bundle, [1, 8], seconds=1.0, engine=engine)
    make_gallery(find_sections([clips, trained.run.path]), out / "page", "Slash demo", lambda: None)

    learned = bundle.manifest.provenance.valid_bits
    say(
        f"Listen:  {clips}{os.sep}*.wav, each with its spectrogram beside it as .png, or all on {out}/page/index.html"
    )
    say(f"Learned: {learned:.3f} bits/sample on takes it never heard (8 know nothing)")
    say(f"Speed:   {one.realtime_clip:.2f} x realtime for one clip, without PyTorch")
    say(f"More:    slash generate {bundle.path} --out more.wav --seconds 30")
