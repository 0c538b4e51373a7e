"""The three jobs of `slash generate`: render files, keep the best-scoring of many, stream one clip."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from signal import Signals

from slash_cli.again import again
from slash_cli.console import BAR_WIDTH, duration, optional_packages, progress_bar, stderr, stdout, table
from slash_cli.engine_options import print_choice
from slash_cli.generate_request import Request
from slash_cli.std_streams import audio_output
from slash_infer.audio.pcm_stream import PcmStream, wav_header
from slash_infer.audio.sinks import Sink
from slash_infer.audio.speakers import Speakers
from slash_infer.clips.best_of import LONGEST, best_of
from slash_infer.clips.pump import pump
from slash_infer.clips.render import Advance, Heard, Rendered, primed_sampler, render
from slash_infer.clips.resume import check_places, unfinished
from slash_infer.clips.sidecar import Sidecar
from slash_infer.errors import UserError
from slash_infer.files import write_json


def render_files(request: Request, signals: Sequence[Signals]) -> None:
    """Render the clips that are not there yet, and print what was done.

    Args:
        request: what to render.
        signals: has an entry when the job is to stop.
    """
    bundle, engine, options, out = request.bundle, request.engine, request.options, request.destination.path
    missing = unfinished(bundle, engine, request.specs, options, force=request.force)
    finished = len(request.specs) - len(missing)
    if not missing:
        found = f"{_clips(finished)} there already, finished" if finished else "this part has no clips"
        stdout().print(f"{out}: {found}")
        return
    with ExitStack() as stack:
        speakers = _open_speakers(request, stack)
        _say_engine(request)
        advance, heard = stack.enter_context(_progress(options.seconds * len(missing)))
        rendered = render(
            bundle,
            engine,
            missing,
            options,
            also=speakers,
            again=partial(again, request.bundle_name, request.engine, options),
            stop=lambda: signals,
            advance=advance,
            heard=heard,
        )
    if rendered.clips:
        already = f" ({finished} more there already)" if finished else ""
        print_rendered(out, rendered, options.seed, already)
    if rendered.stopped:
        without = ", without --force," if request.force else ""
        rest = f"; the same command with --seed {options.seed}{without} makes the rest"
        _say_stopped(rendered, "" if options.seconds == inf else rest)


def keep_best(request: Request, signals: Sequence[Signals], *, keep: int, json_file: Path | None) -> None:
    """Render all candidates, keep the best-scoring, and print the ranking.

    Args:
        request: the candidates.
        signals: has an entry when the job is to stop.
        keep: how many to keep.
        json_file: gets the ranking, too.

    Raises:
        UserError: a clip is too long to be measured, or a file is in the way.
    """
    options, out = request.options, request.destination.path
    if options.seconds > LONGEST:
        raise UserError(f"--seconds {options.seconds:g}", f"--best-of measures clips of at most {LONGEST:g} seconds")
    places = check_places([spec.file for spec in request.specs], force=request.force, resume=False)
    candidates = [replace(spec, place=place) for spec, place in zip(request.specs, places, strict=True)]
    _say_engine(request)
    with _progress(options.seconds * len(request.specs)) as (advance, heard):
        chosen = best_of(
            request.bundle,
            request.engine,
            candidates,
            options,
            keep,
            again=partial(again, request.bundle_name, request.engine, options),
            stop=lambda: signals,
            advance=advance,
            heard=heard,
        )
    rows = table(f"{out}: the best of {len(chosen.ranking)}", "clip", *_MEASURED, "kept")
    for i, sidecar in enumerate(chosen.ranking):
        rows.add_row(str(sidecar.recipe.clip), *_measured(sidecar), "yes" if i < len(chosen.kept) else "")
    stdout().print(rows)
    if json_file is not None:
        ranking = [
            {"clip": sidecar.recipe.clip}
            | sidecar.outcome.model_dump(mode="json", include={"bits_per_sample", "measures", "heard"})
            for sidecar in chosen.ranking
        ]
        kept = [str(path) for path in chosen.kept]
        write_json(
            json_file,
            {"seed": options.seed, "kept": kept, "ranking": ranking},
            force=request.force,
            argument="json_file",
        )
    if chosen.kept:
        stdout().print(f"{out}: {_clips(len(chosen.kept))} kept, seed {options.seed}")
    if chosen.rendered.stopped:
        _say_stopped(chosen.rendered)


def stream(request: Request, signals: Sequence[Signals]) -> None:
    """Play one clip while it is generated, to standard output, the speakers, or both.

    Args:
        request: of one clip.
        signals: has an entry when the clip is to stop.
    """
    place, options, (spec,) = request.destination, request.options, request.specs
    prime = spec.prime.samples if spec.prime is not None and options.include_prime else None
    with ExitStack() as stack:
        sinks: list[Sink] = [*_open_speakers(request, stack)]
        _say_engine(request)
        with stderr().status("getting ready") as status:
            sampler = stack.enter_context(
                primed_sampler(
                    request.bundle,
                    request.engine,
                    request.specs,
                    options,
                    batch_invariant=False,
                    heard=lambda so_far, prime: status.update(_hearing(so_far, prime)),
                )
            )
        try:
            if place.to_stdout:
                pipe = audio_output()
                sinks.append(PcmStream(pipe))
                before = 0 if prime is None else len(prime)
                samples = None if options.seconds == inf else before + round(options.seconds * sampler.sample_rate)
                pipe.write(b"" if place.raw else wav_header(sampler.sample_rate, samples))
            pump(sampler, [sinks], options.seconds, primes=[prime], stop=lambda: signals)
        except BrokenPipeError:
            _discard_stdout()
            stderr().print("slash: the reader has closed the pipe")
        except OSError as error:
            _discard_stdout()
            raise UserError("--out -", f"cannot be written ({error.strerror})", "is the disk full?") from None
    bits = f", {sampler.bits[0]:.3f} bits/sample" if sampler.seconds else ""
    how = "stopped after " if signals else ""
    stderr().print(
        f"slash: {how}{duration(sampler.seconds)}, seed {options.seed}, clip {spec.clip}{bits}"
        f"{'; live, so rounded differently from files' if request.engine.batch_multiple > 1 else ''}"
    )


def _say_engine(request: Request) -> None:
    """Say which engine was chosen. Called once nothing speaks against beginning."""
    if request.engine_is_automatic:
        print_choice(request.engine)


def _discard_stdout() -> None:
    """Send what is still to be flushed to nowhere: nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_speakers(request: Request, stack: ExitStack) -> list[Speakers]:
    """Return the speakers, if they were asked for, open as long as `stack`."""
    seconds = request.destination.speaker_seconds
    return [] if seconds is None else [stack.enter_context(_speakers(request.bundle.manifest.sample_rate, seconds))]


@contextmanager
def _speakers(sample_rate: int, buffer_seconds: float) -> Iterator[Speakers]:
    """Open the speakers; in the end, say how often they ran dry."""
    with optional_packages("--play"):
        opened = Speakers(sample_rate, buffer_seconds)
    with opened as speakers:
        yield speakers
    advice = "; slash bench --live says what this machine can keep up with" if speakers.underruns else ""
    stderr().print(f"slash: {speakers.underruns} underruns with {buffer_seconds:g} s kept ready{advice}")


@contextmanager
def _progress(seconds: float) -> Iterator[tuple[Advance, Heard]]:
    """Show how much of so many seconds of audio is generated, and before that, how much of a prime is heard."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    doing, speed = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[speed]}", markup=False)
    left = TimeElapsedColumn() if seconds == inf else TimeRemainingColumn()
    with progress_bar(doing, BarColumn(BAR_WIDTH), left, speed) as progress:
        task = progress.add_task("generating", total=None if seconds == inf else seconds, speed="")
        yield (
            lambda seconds, realtime: progress.update(
                task, advance=seconds, description="generating", speed=f"{realtime:.2f} x realtime"
            ),
            lambda so_far, prime: progress.update(task, description=_hearing(so_far, prime)),
        )


def _hearing(so_far: float, prime: float) -> str:
    return f"hearing the prime, {so_far:.1f} of {prime:.1f} s"


def print_rendered(out: Path | None, rendered: Rendered, seed: int, more: str = "") -> None:
    """Print where the clips are, their number and length, and the speed."""
    clips, each = len(rendered.clips), rendered.seconds / len(rendered.clips)
    speed = f"{rendered.realtime_clip:.2f} x realtime"
    if rendered.together > 1:
        speed += f" each, {rendered.realtime_batch:.2f} x for the {rendered.together} generated together"
    stdout().print(f"{out}: {clips} x {duration(each)}, seed {seed}, {speed}{more}")


def _say_stopped(rendered: Rendered, what_next: str = "") -> None:
    """Say where the job stopped, and that its files are valid."""
    short = [sidecar.outcome for _, sidecar in rendered.clips if not sidecar.outcome.complete]
    cut = f"; {_clips(len(short))} cut short at {duration(short[0].seconds)}, and valid" if short else ""
    stderr().print(f"slash: stopped{cut}{what_next}")


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"


_MEASURED = ("score", "fault", "bits", "harmonic", "stuck", "distance")


def _measured(sidecar: Sidecar) -> list[str]:
    measures, heard, bits = sidecar.outcome.measures, sidecar.outcome.heard, sidecar.outcome.bits_per_sample
    if measures is None or heard is None or bits is None:
        raise ValueError("the clip was not measured")
    return [
        f"{measures.score:.3f}",
        ", ".join(measures.faults),
        f"{bits:.2f}",
        f"{heard.harmonicity:.3f}",
        f"{heard.stuck:.2f}",
        "" if heard.distance is None else f"{heard.distance:.4g}",
    ]
