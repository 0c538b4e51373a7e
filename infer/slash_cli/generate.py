"""`slash generate`."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from slash_cli.console import optional_packages
from slash_cli.drawing_options import CandidatesOption, FloorOption, RestartOption
from slash_cli.engine_options import BundleArgument, EngineOption, PrecisionOption, open_bundle, rows_side_by_side
from slash_cli.next_step import say_gallery
from slash_infer.choices import AudioFormat, Normalise
from slash_infer.sampling.defaults import DEFAULT_CANDIDATES, DEFAULT_TEMPERATURE


def generate(
    bundle: BundleArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A .wav, .flac or .ogg file, a folder for several clips, or - for standard output."),
    ] = None,
    clips: Annotated[int, typer.Option("-n", help="Number of clips.")] = 1,
    clip: Annotated[int | None, typer.Option(help="Generate only this clip of a larger job.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of each clip; inf plays until it is stopped.")] = 10.0,
    seed: Annotated[
        int | None, typer.Option(help="The same seed generates the same clips. [default: a new one]")
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            help="Under 1 plays safer, over 1 wilder. Several, 0.8,0.9,1, are taken by the clips in turn; "
            "0:0.9,5:1.05 moves from 0.9 at 0 s to 1.05 at 5 s."
        ),
    ] = f"{DEFAULT_TEMPERATURE:g}",
    floor: FloorOption = None,
    candidates: CandidatesOption = DEFAULT_CANDIDATES,
    restart: RestartOption = True,
    prime: Annotated[
        list[Path] | None,
        typer.Option(help="A recording to continue; several are taken by the clips in turn."),
    ] = None,
    prime_start: Annotated[float, typer.Option(help="Where in the recording the prime begins, in seconds.")] = 0.0,
    prime_seconds: Annotated[
        float | None, typer.Option(help="Length of the prime. [default: to the end]", show_default=False)
    ] = None,
    include_prime: Annotated[bool, typer.Option("--include-prime", help="Begin the file with the prime.")] = False,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    audio_format: Annotated[
        AudioFormat | None, typer.Option("--format", help="Of files in a folder, wav by default; or of --out -.")
    ] = None,
    bits: Annotated[int, typer.Option(help="Of a sample: 16, 24, or 32 for float.")] = 16,
    normalise: Annotated[
        Normalise | None, typer.Option(help="Bring clips to -1 dB of peak, or -16 LUFS. [default: as they are]")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Generate the I-th of N parts of the job: 1/4 .. 4/4.")
    ] = None,
    best_of: Annotated[
        int | None, typer.Option(help="Generate this many clips and keep the best-scoring -n.")
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it on the speakers while it is generated.")] = False,
    latency: Annotated[float, typer.Option(help="Seconds of audio that --play keeps ready.")] = 0.2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the ranking of --best-of to this file, too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Generate audio from a bundle, or rock guitar from the one that comes with Slash. Needs no PyTorch.

    Run again, it generates what is missing: finished clips stay, clips that Ctrl-C cut short are completed.

    \b
    slash generate --out riff.wav
    slash generate bundle --out clip.wav --seconds 10
    slash generate bundle --out clips -n 8 --seconds 5 --seed 1 --temperature 0.95
    slash generate bundle --out clip.wav --seed 1 --clip 5 --seconds 5
    slash generate bundle --out riff.flac --prime riff.wav --prime-seconds 2 --include-prime
    slash generate bundle --out best --best-of 32 -n 4
    slash generate bundle --out clips -n 1000 --seed 1 --shard 2/8
    slash generate bundle --seconds inf --out - | ffplay -
    slash generate bundle --seconds inf --play
    """
    with optional_packages("generate"):
        from slash_cli.clip_files import clip_files, clip_numbers, find_destination, stored_bits
        from slash_cli.generate_jobs import keep_best, render_files, stream
        from slash_cli.generate_request import Request, check_normalise, check_options, check_outputs, read_primes
        from slash_infer.clips.spec import ClipSpec, RenderOptions
        from slash_infer.machine import raise_open_files
        from slash_infer.sampling.choice import open_engine
        from slash_infer.sampling.floor import as_floor
        from slash_infer.sampling.randomness import check_keys
        from slash_infer.sampling.temperature import parse
        from slash_infer.signals import stop_signals

    numbers = clip_numbers(clips, clip, shard, best_of)
    destination = find_destination(out, audio_format, latency if play else None)
    check_options(
        destination,
        names=[*([bundle] if bundle else []), *(prime or ())],
        seconds=seconds,
        latency=latency,
        one_clip=len(numbers) == 1 and best_of is None,
        needs_seed=shard if seed is None else None,
        has_prime=bool(prime),
        of_a_prime={
            "--prime-start": prime_start != 0,
            "--prime-seconds": prime_seconds is not None,
            "--include-prime": include_prime,
        },
    )
    check_normalise(normalise, seconds, destination)
    temperatures = parse(temperature)
    chosen_seed = secrets.randbelow(2**32) if seed is None else seed
    check_keys(chosen_seed, *numbers)
    files = clip_files(destination, numbers, clips if best_of else None, audio_format)
    stored = stored_bits(bits, destination, files)
    check_outputs(destination, files, json_file, ranks=best_of is not None, force=force)
    raise_open_files()  # each clip has some
    opened = open_bundle(bundle)
    checked_floor = as_floor(floor, opened.manifest.codec.levels)
    primes = read_primes(prime or (), opened.manifest, prime_start, prime_seconds)
    request = Request(
        bundle=opened,
        bundle_name=None if bundle is None else str(bundle),
        engine=open_engine(opened, engine, precision, rows=rows_side_by_side(len(numbers), candidates)),
        engine_is_automatic="auto" in (engine, precision),
        specs=[
            ClipSpec(file, number, temperatures[number % len(temperatures)], primes[number % len(primes)])
            for file, number in zip(files, numbers, strict=True)
        ],
        options=RenderOptions(
            seconds=seconds,
            seed=chosen_seed,
            floor=checked_floor,
            candidates=candidates,
            restart=restart,
            include_prime=include_prime,
            normalise=normalise,
            bits=stored,
        ),
        destination=destination,
        force=force,
    )
    with stop_signals() as signals:
        if destination.is_live:
            stream(request, signals)
        elif best_of is not None:
            keep_best(request, signals, keep=clips, json_file=json_file)
        else:
            render_files(request, signals)
    if signals:
        raise typer.Exit(128 + signals[0])
    if destination.path is not None and destination.path.exists():
        say_gallery(destination.path)
