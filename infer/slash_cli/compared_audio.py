"""What `slash compare` listens to: clips, and the recordings that they are compared with."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from slash_infer.audio.audio_files import FORMATS
from slash_infer.audio.ear.source import RATE, Float64, Source, resampled, source_of_clip
from slash_infer.errors import UserError
from slash_infer.files import check_exists, real_path
from slash_infer.gallery.find import GALLERY_METADATA, audio_files, sidecar_of
from slash_train.corpus import MANIFEST, Corpus
from slash_train.corpus_sources import sources
from slash_train.finding import find_recordings
from slash_train.recordings import SourceStats, decode


def clip_sources(paths: Sequence[Path]) -> list[Source]:
    """Return the clips among files and folders, each once. A prime that a file begins with is left out.

    In a folder, what `slash gallery` would find there is taken, whether or not it has a sidecar; of a gallery, its
    audio.

    Raises:
        UserError: a path does not exist or holds no clips, or a sidecar is damaged.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _clips_at(path):
            files.setdefault(real_path(file), file)
    return [_clip_source(file) for file in files.values()]


def recordings_to_compare(paths: Sequence[Path]) -> tuple[list[Source], list[Source]]:
    """Return the recordings of a corpus's training split and those held out; or those found, and none held out.

    Raises:
        UserError: there are none, or something cannot be read.
    """
    corpora = [path for path in paths if (path / MANIFEST).exists()]
    if corpora and len(paths) > 1:
        raise UserError(corpora[0], "is a corpus, and `to` takes one alone", "leave out the others")
    if corpora:
        corpus = Corpus(corpora[0])
        return sources(corpus, "train"), [*sources(corpus, "valid"), *sources(corpus, "test")]
    found = find_recordings(paths)
    for fault in found.faults:
        raise fault
    return [Source(str(path), partial(_decoded, path)) for path in found.recordings], []


def _clips_at(path: Path) -> Iterator[Path]:
    check_exists(path)
    if path.is_dir():
        inside = list(audio_files(path / "audio" if (path / GALLERY_METADATA).exists() else path))
        if not inside:
            raise UserError(path, "holds no clips", f"give a folder with {', '.join(FORMATS)} files")
        yield from inside
    elif path.suffix.lower() in FORMATS:
        yield path
    else:
        raise UserError(path, f"is not named as a clip is ({', '.join(FORMATS)})", "name another file")


def _clip_source(file: Path) -> Source:
    sidecar = sidecar_of(file)
    if sidecar is None or not sidecar.recipe.include_prime:
        return source_of_clip(file)
    return source_of_clip(file, sidecar.outcome.seconds)


def _decoded(path: Path) -> Iterator[Float64]:
    return resampled(decode(path, RATE, "mix", SourceStats()), RATE)
