"""`slash generate`."""

import math
import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from slash_cli.clip_files import MAX_CANDIDATES, STDOUT, Format, check_bits, clip_files, clip_numbers
from slash_cli.console import optional_packages
from slash_cli.engine_options import EngineName, EngineOption, PrecisionName, PrecisionOption
from slash_infer.errors import UserError

MIN_SECONDS = 0.01
MAX_SECONDS = 24 * 3600.0
MIN_LATENCY, MAX_LATENCY = 0.02, 10.0


class Normalise(StrEnum):
    """What to set a clip's volume by."""

    peak = "peak"
    loudness = "loudness"


def generate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by slash export.")],
    out: Annotated[
        Path | None,
        typer.Option(help="A .wav, .flac or .ogg file, a folder for several clips, or - for standard output."),
    ] = None,
    clips: Annotated[int, typer.Option("-n", help="Number of clips.")] = 1,
    clip: Annotated[int | None, typer.Option(help="Make this clip of a larger job, alone.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of each clip; inf plays until it is stopped.")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same clips. [default: a new one]")] = None,
    temperature: Annotated[
        str,
        typer.Option(
            help="Under 1 plays safer, over 1 wilder. Several, 0.8,0.9,1, are taken by the clips in turn; "
            "0:0.9,5:1.05 moves from 0.9 at 0 s to 1.05 at 5 s."
        ),
    ] = "1",
    primes: Annotated[
        list[Path] | None,
        typer.Option("--prime", help="A recording to continue; several are taken by the clips in turn."),
    ] = None,
    prime_start: Annotated[float, typer.Option(help="Where in the recording to begin, in seconds.")] = 0.0,
    prime_seconds: Annotated[
        float | None, typer.Option(help="How much of it to hear. [default: all]", show_default=False)
    ] = None,
    include_prime: Annotated[bool, typer.Option("--include-prime", help="Begin the file with the prime.")] = False,
    engine: EngineOption = EngineName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    audio_format: Annotated[
        Format | None, typer.Option("--format", help="Of files in a folder, wav if not said; or of --out -.")
    ] = None,
    bits: Annotated[int, typer.Option(help="Of a sample: 16, 24, or 32 for float.")] = 16,
    normalise: Annotated[
        Normalise | None, typer.Option(help="Bring clips to -1 dB of peak, or -16 LUFS. [default: as they are]")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N parts of the job: 1/4 .. 4/4.")
    ] = None,
    best_of: Annotated[
        int | None, typer.Option(help="Make this many clips and keep the -n in which least went wrong.")
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it on the speakers while it is made.")] = False,
    latency: Annotated[float, typer.Option(help="Seconds that --play keeps ready.")] = 0.2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the ranking of --best-of here, too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Generate audio from a bundle. Needs no PyTorch.

    Called again, it makes what is missing: finished clips stay, clips that Ctrl-C cut short are made whole.

    \b
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
        from slash_cli.generating import Job, choose, make, stream
        from slash_infer.bundle import Bundle
        from slash_infer.clips.clip_file import sidecar_path
        from slash_infer.clips.primes import read_prime
        from slash_infer.clips.render import ClipSpec, RenderOptions
        from slash_infer.clips.resume import check_places
        from slash_infer.sampling.choice import open_engine
        from slash_infer.sampling.randomness import check_keys
        from slash_infer.sampling.temperature import parse
        from slash_infer.signals import stop_signals
    from slash_infer.files import check_file_output

    for path in (bundle, *(primes or ())):
        _check_name(path)
    numbers = clip_numbers(clips, clip, shard) if best_of is None else _candidates(best_of, clips, clip, shard)
    target = _target(out, play=play)
    _check_lengths(seconds, latency)
    if (target is None or play or seconds == math.inf) and (len(numbers) != 1 or best_of is not None):
        raise UserError(
            "--play, --out - and --seconds inf", "make one clip", "leave out -n and --best-of, or say --clip"
        )
    if shard is not None and seed is None:
        raise UserError(f"--shard {shard}", "needs --seed, the same for every part")
    if not primes:
        _check_no_prime(prime_start, prime_seconds, include_prime=include_prime)
    if json_file is not None:
        if best_of is None:
            raise UserError("--json", "is for the ranking of --best-of")
        check_file_output(json_file, force=force)
    if normalise is not None:
        _check_normalise(normalise, seconds, target)
    schedules = parse(temperature)
    chosen = secrets.randbelow(2**32) if seed is None else seed
    check_keys(chosen, *numbers)
    files = [STDOUT] if target is None else clip_files(target, numbers, best_of and clips, audio_format)
    stored = _stream_bits(bits, audio_format) if target is None else check_bits(bits, files)
    check_places([file for file in files if file != STDOUT], force=force)
    if json_file is not None and json_file.resolve() in {
        place.resolve() for file in files for place in (file, sidecar_path(file))
    }:
        raise UserError(f"--json {json_file}", "is where a clip or its page goes", "choose another file")
    opened = Bundle(bundle)
    heard = [read_prime(path, opened.manifest, prime_start, prime_seconds) for path in primes or ()]
    job = Job(
        bundle=opened,
        chosen=open_engine(opened, engine.value, precision.value),
        say_engine="auto" in (engine.value, precision.value),
        specs=[
            ClipSpec(file, number, schedules[number % len(schedules)], heard[number % len(heard)] if heard else None)
            for file, number in zip(files, numbers, strict=True)
        ],
        options=RenderOptions(
            seconds=seconds,
            seed=chosen,
            alone=(clip, shard, best_of, clips) == (None, None, None, 1),
            include_prime=include_prime,
            normalise=None if normalise is None else normalise.value,
            bits=stored,
            source=str(bundle),
        ),
        target=target,
        force=force,
    )
    with stop_signals() as signals:
        if target is None:
            stream(job, signals, to_stdout=out == STDOUT, raw=audio_format is Format.raw, speakers=play and latency)
        elif best_of is not None:
            choose(job, signals, keep=clips, json_file=json_file)
        else:
            make(job, signals, speakers=play and latency)
    if signals:
        raise typer.Exit(128 + signals[0])


def _check_name(path: Path) -> None:
    """Refuse names that are no text: a clip's page could not tell them."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(path)!r}", "is not a name in UTF-8", "rename it") from None


def _candidates(best_of: int, clips: int, clip: int | None, shard: str | None) -> list[int]:
    """Return the numbers of the clips to choose among."""
    if clip is not None or shard is not None:
        raise UserError("--best-of", "chooses among all clips, so it goes without --clip and --shard")
    if not 1 <= clips <= best_of <= MAX_CANDIDATES:
        raise UserError(f"--best-of {best_of}", f"must be from -n, {clips}, to {MAX_CANDIDATES}")
    return list(range(best_of))


def _target(out: Path | None, *, play: bool) -> Path | None:
    """Return the file or folder to write, or None where the sound goes elsewhere."""
    if out is None and not play:
        raise UserError("Missing option '--out'", "name a file, a folder, or - for standard output", "or pass --play")
    if out == STDOUT and sys.stdout is None:
        raise UserError("--out -", "standard output is closed", "pipe it into a player, | ffplay - for example")
    if out == STDOUT and sys.stdout.isatty():
        raise UserError(
            "--out -", "would write audio to the terminal", "pipe it into a player, | ffplay - for example"
        )
    return None if out == STDOUT else out


def _stream_bits(bits: int, audio_format: Format | None) -> Literal[16]:
    """Return the bits of a sample where there is no file."""
    if audio_format not in (None, Format.wav, Format.raw):
        raise UserError(f"--format {audio_format}", "is for files", "--out - takes wav or raw")
    if bits != 16:
        raise UserError(f"--bits {bits}", "is for files", "--out - has 16")
    return 16


def _check_no_prime(start: float, seconds: float | None, *, include_prime: bool) -> None:
    given = {"--prime-start": start != 0, "--prime-seconds": seconds is not None, "--include-prime": include_prime}
    for option, is_given in given.items():
        if is_given:
            raise UserError(option, "needs a --prime")


def _check_lengths(seconds: float, latency: float) -> None:
    if not (MIN_SECONDS <= seconds <= MAX_SECONDS or seconds == math.inf):
        raise UserError(f"--seconds {seconds}", f"must be from {MIN_SECONDS} to {MAX_SECONDS:.0f}, or inf")
    if not MIN_LATENCY <= latency <= MAX_LATENCY:
        raise UserError(f"--latency {latency}", f"must be from {MIN_LATENCY} to {MAX_LATENCY:.0f} seconds")


def _check_normalise(how: Normalise, seconds: float, target: Path | None) -> None:
    from slash_infer.audio.normalisation import check_length

    if target is None:
        raise UserError(f"--normalise {how.value}", "needs the whole clip before it plays", "give a file or a folder")
    check_length(seconds, how.value)
    if how is Normalise.loudness:
        with optional_packages("--normalise loudness"):
            import pyloudnorm  # noqa: F401
