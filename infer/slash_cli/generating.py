"""What `slash generate` does once it knows what is wanted: make clips, choose among them, or play one."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from slash_cli.console import duration, optional_packages, progress_bar, stderr, stdout, table
from slash_cli.engine_options import say_choice
from slash_infer.audio.pcm_stream import PcmStream, Sink, play, wav_header
from slash_infer.audio.speakers import Speakers
from slash_infer.bundle import Bundle
from slash_infer.clips.best_of import LONGEST, best_of
from slash_infer.clips.render import Advance, ClipSpec, Rendered, RenderOptions, primed, render
from slash_infer.clips.resume import check_places, unfinished
from slash_infer.clips.sidecar import Sidecar
from slash_infer.errors import UserError
from slash_infer.files import write_json
from slash_infer.sampling.choice import Chosen
from slash_infer.sampling.engine import Engine


@dataclass(frozen=True)
class Job:
    """What is wanted."""

    bundle: Bundle
    chosen: Chosen
    say_engine: bool
    """Whether to say what was chosen, once nothing speaks against beginning."""
    specs: list[ClipSpec]
    options: RenderOptions
    target: Path | None
    """The file or folder as the user named it."""
    force: bool

    @property
    def engine(self) -> Engine:
        """What runs it."""
        return self.chosen.engine

    def begin(self) -> None:
        """Say what is about to run."""
        if self.say_engine:
            say_choice(self.chosen)


def make(job: Job, signals: Sequence[Signals], *, speakers: float) -> None:
    """Make the clips that are not there yet, and say so.

    Args:
        job: what to make.
        signals: has an entry when it is to stop.
        speakers: seconds to keep ready for them, while the clip is played, too; 0 without.
    """
    missing = unfinished(job.bundle, job.engine, job.specs, job.options, force=job.force)
    there = len(job.specs) - len(missing)
    if not missing:
        found = f"{_clips(there)} there already, finished" if there else "this part has no clips"
        stdout().print(f"{job.target}: {found}")
        return
    with ExitStack() as stack:
        also = [stack.enter_context(_speakers(job, speakers))] if speakers else []
        job.begin()
        advance = stack.enter_context(_progress(job.options.seconds * len(missing)))
        rendered = render(
            job.bundle, job.engine, missing, job.options, also=also, stop=lambda: signals, advance=advance
        )
    if rendered.clips:
        already = f" ({there} more there already)" if there else ""
        stdout().print(f"{job.target}: {_summary(rendered, job.options.seed)}{already}")
    if rendered.stopped:
        without = ", without --force," if job.force else ""
        again = f"; the same command with --seed {job.options.seed}{without} makes the rest"
        _say_stopped(rendered, "" if job.options.seconds == float("inf") else again)


def choose(job: Job, signals: Sequence[Signals], *, keep: int, json_file: Path | None) -> None:
    """Make all candidates, keep the best, and print how they rank.

    Raises:
        UserError: a clip is too long to be measured, or a file is in the way.
    """
    if job.options.seconds > LONGEST:
        raise UserError(
            f"--seconds {job.options.seconds:g}", f"--best-of measures clips of at most {LONGEST:g} seconds"
        )
    check_places([spec.file for spec in job.specs], force=job.force, again=False)
    job.begin()
    with _progress(job.options.seconds * len(job.specs)) as advance:
        chosen = best_of(job.bundle, job.engine, job.specs, job.options, keep, stop=lambda: signals, advance=advance)
    rows = table(f"{job.target}: the best of {len(chosen.ranking)}", "clip", *_MEASURED, "kept")
    for i, page in enumerate(chosen.ranking):
        rows.add_row(str(page.clip), *_measured(page), "yes" if i < len(chosen.kept) else "")
    stdout().print(rows)
    if json_file is not None:
        ranking = [
            page.model_dump(mode="json", include={"clip", "bits_per_sample", "measures"}) for page in chosen.ranking
        ]
        write_json(
            json_file, {"seed": job.options.seed, "kept": [str(path) for path in chosen.kept], "ranking": ranking}
        )
    if chosen.kept:
        stdout().print(f"{job.target}: {_clips(len(chosen.kept))} kept, seed {job.options.seed}")
    if chosen.rendered.stopped:
        _say_stopped(chosen.rendered)


def stream(job: Job, signals: Sequence[Signals], *, to_stdout: bool, raw: bool, speakers: float) -> None:
    """Play one clip while it is made, to standard output, the speakers, or both.

    Args:
        job: of one clip.
        signals: has an entry when it is to stop.
        to_stdout: whether to write it there.
        raw: without a WAV header.
        speakers: seconds to keep ready for them; 0 without.
    """
    rate, prime = job.bundle.manifest.sample_rate, job.specs[0].prime if job.options.include_prime else None
    sinks: list[Sink] = []
    with ExitStack() as stack:
        if speakers:
            sinks.append(stack.enter_context(_speakers(job, speakers)))
        job.begin()
        sampler = stack.enter_context(primed(job.bundle, job.engine, job.specs, job.options))
        try:
            if to_stdout:
                sinks.append(PcmStream(sys.stdout.buffer))
                before = 0 if prime is None else len(prime.samples)
                samples = None if job.options.seconds == float("inf") else before + round(job.options.seconds * rate)
                sys.stdout.buffer.write(b"" if raw else wav_header(rate, samples))
            for sink in sinks:
                if prime is not None:
                    sink.write(prime.samples)
            play(sampler, job.options.seconds, sinks, stop=lambda: signals)
        except BrokenPipeError:
            _forget_stdout()
            stderr().print("slash: the reader has closed the pipe")
        except OSError as error:
            _forget_stdout()
            raise UserError("--out -", f"cannot be written ({error.strerror})", "is the disk full?") from None
    bits = f", {sampler.bits[0]:.3f} bits/sample" if sampler.seconds else ""
    how = "stopped after " if signals else ""
    stderr().print(
        f"slash: {how}{duration(sampler.seconds)}, seed {job.options.seed}, clip {job.specs[0].clip}{bits}"
    )


def _forget_stdout() -> None:
    """Send what is still to be flushed nowhere: there is nobody to take it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _speakers(job: Job, latency: float) -> Iterator[Speakers]:
    """Open the speakers; in the end, say how often they ran dry."""
    with optional_packages("--play"):
        opened = Speakers(job.bundle.manifest.sample_rate, latency)
    with opened as speakers:
        yield speakers
    advice = "; slash bench --live says what this machine can keep up with" if speakers.underruns else ""
    stderr().print(f"slash: {speakers.underruns} underruns with {latency:g} s kept ready{advice}")


@contextmanager
def _progress(seconds: float) -> Iterator[Advance]:
    """Show how much of so much audio is made."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    endless = seconds == float("inf")
    description = TextColumn("{task.description}", markup=False)
    left = TimeElapsedColumn() if endless else TimeRemainingColumn()
    with progress_bar(TextColumn("generating"), BarColumn(), description, left) as progress:
        task = progress.add_task("", total=None if endless else seconds)
        yield lambda made, realtime: progress.update(task, advance=made, description=f"{realtime:.2f} x realtime")


def _summary(rendered: Rendered, seed: int) -> str:
    clips, each = len(rendered.clips), rendered.seconds / len(rendered.clips)
    speed = f"{rendered.realtime_clip:.2f} x realtime"
    if rendered.together > 1:
        speed += f" each, {rendered.realtime_batch:.2f} x for the {rendered.together} made together"
    return f"{clips} x {duration(each)}, seed {seed}, {speed}"


def _say_stopped(rendered: Rendered, what_next: str = "") -> None:
    """Say where it ended, and that what there is is whole."""
    short = [page for _, page in rendered.clips if not page.complete]
    cut = f"; {_clips(len(short))} cut short at {duration(short[0].seconds)}, and valid" if short else ""
    stderr().print(f"slash: stopped{cut}{what_next}")


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"


_MEASURED = ("score", "fault", "level dB", "silent", "flat", "moves dB", "bits")


def _measured(page: Sidecar) -> list[str]:
    measures, bits = page.measures, page.bits_per_sample
    if measures is None or bits is None:
        raise ValueError("the clip was not measured")
    return [
        f"{measures.score:.3f}",
        ", ".join(measures.faults),
        f"{measures.level_db:.1f}",
        f"{100 * measures.silent:.0f}%",
        f"{measures.flatness:.3f}",
        f"{measures.movement_db:.1f}",
        f"{bits:.2f}",
    ]
