"""Makes more clips than are wanted, and keeps those in which least went wrong."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from slash_infer.audio.measures import measure
from slash_infer.bundle import Bundle
from slash_infer.clips.clip_file import sidecar_path
from slash_infer.clips.render import BATCH, Advance, ClipSpec, Rendered, RenderOptions, render
from slash_infer.clips.sidecar import Sidecar
from slash_infer.errors import UserError
from slash_infer.files import atomic_file
from slash_infer.sampling.engine import Engine

LONGEST = 600.0  # seconds: a clip is measured in memory, whole


@dataclass(frozen=True)
class Chosen:
    """What came of it."""

    rendered: Rendered
    ranking: list[Sidecar]
    """The pages of all candidates, with their measures, the best first."""
    kept: list[Path]
    """Files of the first of them, in their order."""


def best_of(
    bundle: Bundle,
    engine: Engine,
    candidates: Sequence[ClipSpec],
    options: RenderOptions,
    keep: int,
    *,
    stop: Callable[[], object] = lambda: False,
    advance: Advance = lambda *_: None,
) -> Chosen:
    """Generate all candidates, rank them by their scores, and write the best into their files.

    Args:
        bundle: the exported model.
        engine: the bundle's.
        candidates: what to make, with the files they get when they are kept. Where those are one and the same, the
            best gets it.
        options: what they have in common.
        keep: how many to keep.
        stop: as for `render`; what there is by then is ranked.
        advance: told of progress.
    """
    with tempfile.TemporaryDirectory(prefix="slash-candidates-") as folder:
        drafts = {spec.clip: replace(spec, file=Path(folder, str(spec.clip), spec.file.name)) for spec in candidates}
        rendered, ranking = Rendered(together=min(BATCH, len(candidates))), list[Sidecar]()
        for first in range(0, len(candidates), BATCH):
            batch = [drafts[spec.clip] for spec in candidates[first : first + BATCH]]
            part = render(bundle, engine, batch, options, stop=stop, advance=advance)
            rendered.add(part)
            ranking += [with_measures(file, page) for file, page in part.clips]
            ranking.sort(key=_rank, reverse=True)
            for page in ranking[keep:]:
                drafts[page.clip].file.unlink(missing_ok=True)
            if part.stopped:
                break
        files = {spec.clip: spec.file for spec in candidates}
        kept = [files[page.clip] for page in ranking[:keep]]
        for page, file in zip(ranking, kept, strict=False):
            _keep(drafts[page.clip].file, page, file)
    return Chosen(rendered, ranking, kept)


def _keep(draft: Path, page: Sidecar, file: Path) -> None:
    """Put a clip and its page in their place, both or neither."""
    try:
        stood = file.exists()
        if not stood:
            page.write(sidecar_path(file))
        with atomic_file(file) as part:
            shutil.copyfile(draft, part)
        if stood:  # killed between the two, it is taken for what it was
            page.write(sidecar_path(file))
    except OSError as error:
        if not file.exists():
            sidecar_path(file).unlink(missing_ok=True)
        raise UserError(file, f"cannot be written ({error.strerror})", "make room, or choose another `out`") from None


def with_measures(file: Path, page: Sidecar) -> Sidecar:
    """Return a clip's page with what is measured in its file."""
    samples, rate = soundfile.read(file, dtype="float32")
    generated = samples[len(samples) - min(len(samples), round(page.seconds * rate)) :]  # without the prime
    recorded, drawn = page.provenance.valid_bits, page.bits_per_sample
    surprise = drawn - recorded if drawn is not None and recorded is not None else None
    return page.model_copy(update={"measures": measure(generated, rate, surprise)})


def _rank(page: Sidecar) -> tuple[bool, float]:
    """Sort by score, those that were cut short last."""
    return page.complete, page.measures.score if page.measures is not None else 0.0
