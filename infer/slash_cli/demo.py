"""`slash demo`: the whole path on a corpus of its own, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from slash_cli import export, gallery, generate, prepare, train
from slash_cli.bench import measure_and_print
from slash_cli.console import optional_packages, stdout
from slash_cli.engine_options import choose_engine

RECORDED_MINUTES = 4.0
CLIPS, CLIP_SECONDS = 4, 5.0
PAGE, MADE_BY = "demo.json", "slash demo"


def demo(
    out: Annotated[Path, typer.Option(help="A folder for everything the demo makes.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.01, help="Trainer time.")] = 4.0,
    preset: Annotated[str, typer.Option(help="Model to train.")] = "demo",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
) -> None:
    """Record a synthetic guitarist, train on it, export, generate clips, and show them on a page.

    \b
    slash demo
    slash demo --out demo-long --minutes 30
    """
    with optional_packages("demo"):
        import jinja2  # noqa: F401  for the gallery

        from slash_infer.audio.spectrogram import draw_spectrogram
        from slash_infer.bundle import Bundle
        from slash_train.config import load_preset
        from slash_train.guitar import record

    from slash_infer.files import atomic_directory, check_directory_output, write_json

    console = stdout()
    load_preset(preset)  # refused now, if at all, and not after minutes of work
    check_directory_output(out, force=force, metadata=PAGE, made_by=MADE_BY)
    with atomic_directory(out) as folder:
        write_json(folder / PAGE, {"made_by": MADE_BY, "note": "slash demo --force replaces this folder"})
        console.print(f"1/5 recording {RECORDED_MINUTES:g} minutes of synthetic guitar")
        record(folder / "recordings", RECORDED_MINUTES)
    console.print("2/5 preparing the corpus")
    prepare.prepare([out / "recordings"], out=out / "corpus", valid=0.15, test=0.15)
    console.print(f"3/5 training preset {preset} for {minutes:g} minutes")
    train.train(out / "corpus", out=out / "run", preset=preset, minutes=minutes)
    console.print("4/5 exporting")
    export.export(out / "run", out=out / "bundle")
    console.print(f"5/5 generating {CLIPS} clips and measuring the speed")
    clips = out / "clips"
    generate.generate(out / "bundle", out=clips, clips=CLIPS, seconds=CLIP_SECONDS, seed=1)
    for wav in sorted(clips.glob("*.wav")):
        draw_spectrogram(wav, wav.with_suffix(".png"), f"{wav.stem}: generated")
    take = out / "recordings" / "take-1.wav"
    draw_spectrogram(take, out / "recordings" / "take-1.png", "take-1: recorded")
    bundle = Bundle(out / "bundle")
    engine = choose_engine(bundle)
    one, *_ = measure_and_print(bundle, [1, 8], seconds=1.0, engine=engine)
    gallery.gallery([clips, out / "run"], out=out / "page", title="Slash demo")
    console.print(
        f"Listen:  {clips}/*.wav, each with its spectrogram beside it as .png, or all on {out}/page/index.html"
    )
    console.print(
        f"Learned: {bundle.manifest.provenance.valid_bits:.3f} bits/sample on takes it never heard (8 know nothing)"
    )
    console.print(f"Speed:   {one.realtime_clip:.2f} x realtime for one clip, without PyTorch")
    console.print(f"More:    slash generate {bundle.path} --out more.wav --seconds 30")
