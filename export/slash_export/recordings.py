"""The recordings that a run learned from, and their values for its bundle."""

from pathlib import Path

from slash_infer.audio.ear.recordings import Recordings, measure_recordings
from slash_infer.bundle import FileEntry, describe_file
from slash_infer.errors import UserError
from slash_infer.files import write_json
from slash_train.corpus import Corpus
from slash_train.corpus_sources import sources
from slash_train.run import Run

RECORDINGS = "recordings.json"


def corpus_of(run: Run) -> Corpus | None:
    """Return the corpus that a run was trained on, if it is still in its place and unchanged."""
    try:
        corpus = Corpus(run.corpus_path)
    except UserError:
        return None
    return corpus if corpus.fingerprint() == run.metadata.corpus.sha256 else None


def learned_recordings(corpus: Corpus | None) -> Recordings | None:
    """Return the values of the recordings in the training split; None if the corpus is gone, or is too short."""
    return None if corpus is None else measure_recordings(sources(corpus, "train"))


def write_recordings(folder: Path, corpus: Corpus | None) -> FileEntry | None:
    """Write the values of the recordings that a run learned from into a bundle, and describe the file.

    Returns:
        None if there are none.
    """
    recordings = learned_recordings(corpus)
    if recordings is None:
        return None
    write_json(folder / RECORDINGS, recordings.model_dump(mode="json"))
    return describe_file(folder / RECORDINGS)
