"""The directory of a training run: its metadata, metrics and checkpoints."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from slash_infer.bundle import Ancestor
from slash_infer.errors import UserError
from slash_infer.files import (
    atomic_directory,
    atomic_file,
    open_plain_file,
    sweep,
    sweep_below,
    write_json,
)
from slash_train.append import append
from slash_train.checkpoint import TrainerSnapshot
from slash_train.checkpoint_store import CheckpointStore
from slash_train.config import Preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN
from slash_train.run_lock import training_lock
from slash_train.run_metadata import MADE_BY, METADATA, RunMetadata, UsedCorpus
from slash_train.trained_model import TrainedModel

METRICS = "metrics.jsonl"
METRICS_LIMIT = 1 << 30
"""Bytes of metrics that are read: a hundred million steps have as many."""
CURVE = "learning_curve.png"
PREVIEWS = "previews"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class Inheritance:
    """What a run begins with that goes on from other weights."""

    first: TrainerSnapshot
    """Its checkpoint of step 0."""
    ancestors: tuple[Ancestor, ...]
    """The checkpoints that its weights are from, the nearest first."""


class Run:
    """An existing run.

    Args:
        path: the directory of the run.

    Raises:
        UserError: the directory is not a run, or its configuration cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata = RunMetadata.read(path)
        self.checkpoints = CheckpointStore(path)

    @classmethod
    @contextmanager
    def create(
        cls,
        path: Path,
        preset_name: str,
        preset: Preset,
        corpus: Corpus,
        warn: Callable[[str], None],
        *,
        inheritance: "Inheritance | None" = None,
        force: bool = False,
    ) -> Iterator["Run"]:
        """Make the directory `path` for a new run, and hold its lock during the body.

        Args:
            path: the directory.
            preset_name: the preset's name, for the record.
            preset: the configuration.
            corpus: what it trains on.
            warn: told of a file system without locks.
            inheritance: what it begins with, if not with random weights; it has that from the moment it appears.
            force: replace an existing run.

        Raises:
            UserError: the run to replace is being trained.
        """
        used = UsedCorpus.describe(corpus)
        metadata = RunMetadata(preset_name=preset_name, preset=preset, corpus=used)
        if inheritance is not None:
            metadata = metadata.model_copy(update={"ancestors": inheritance.ancestors})
        with ExitStack() as locks:
            if (path / METADATA).is_file():
                locks.enter_context(training_lock(path, warn))
            with atomic_directory(path, force=force, metadata=METADATA, made_by=MADE_BY) as folder:
                write_json(folder / METADATA, metadata.model_dump(mode="json"))
                if inheritance is not None:
                    recipe, first = preset.training, inheritance.first
                    try:
                        CheckpointStore(folder).save(
                            first, best=True, keep=recipe.keep, every=recipe.checkpoint_every
                        )
                    except UserError as error:  # there is no run yet to go on with
                        raise UserError(path, f"cannot be made ({error.fault})", "make room") from None
                locks.enter_context(training_lock(folder, warn))  # it is locked from the moment it appears
            yield cls(path)

    def require_corpus(self, corpus: Corpus) -> None:
        """Check that a corpus is the one that the run was started on, wherever it is by now.

        Raises:
            UserError: it holds other recordings, or the same prepared in another way.
        """
        begun, given = self.metadata.corpus, UsedCorpus.describe(corpus)
        if begun.sha256 != given.sha256:
            raise UserError(
                corpus.path,
                f"is not the corpus the run was started on: it holds {given.size}; that one held {begun.size}",
                f"go on with that one, at {begun.place}, or begin a new run on this one with `init_from` {self.path}",
            )

    def change(self, preset: Preset, corpus: Corpus) -> None:
        """Change the configuration that the run continues with, and where its corpus is."""
        self.metadata = self.metadata.model_copy(update={"preset": preset, "corpus": UsedCorpus.describe(corpus)})
        write_json(self.path / METADATA, self.metadata.model_dump(mode="json"))

    @property
    def preset(self) -> Preset:
        """The configuration that the run continues with."""
        return self.metadata.preset

    @property
    def preset_name(self) -> str:
        """The preset that the run was started from."""
        return self.metadata.preset_name

    @property
    def corpus_path(self) -> Path:
        """Where the run's corpus was when training was last started."""
        return Path(self.metadata.corpus.path)

    def load_model(self, which: str) -> TrainedModel:
        """Load the model of a checkpoint, on the CPU, with the EMA of the weights if the run keeps one.

        Args:
            which: `best`, `last`, or the directory of a checkpoint.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        checkpoint = self.checkpoints.find(which)
        checkpoint.require_configuration(self.preset, self.path / METADATA)
        model = SampleRNN(self.preset.model, self.preset.audio.codec)
        checkpoint.load_weights(model, ema=self.preset.training.ema_decay > 0)
        state = checkpoint.trainer_state()
        return TrainedModel(
            model.eval(), self.preset, self.preset_name, state.step, state.valid_bits, self.metadata.ancestors
        )

    def metrics(self) -> Iterator[Metrics]:
        """Yield the logged metrics in order, without a last line that a killed process left incomplete.

        Raises:
            UserError: a line is damaged, or the file is not a plain one.
        """
        path, remedy = self.path / METRICS, "restore it from a copy of the run"
        try:
            with open_plain_file(path, "metrics", remedy, limit=METRICS_LIMIT) as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        return
                    try:
                        metrics = Metrics.model_validate_json(line)
                    except ValueError:
                        raise UserError(path, f"line {number} is damaged", f"{remedy}, or remove the line") from None
                    yield metrics
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(path, f"cannot be read ({error.strerror})", remedy) from None

    def log(self, *metrics: Metrics) -> None:
        """Append lines of metrics and flush them to disk: no checkpoint may exist without the metrics before it.

        Raises:
            OSError: the disk is full, or cannot be written to. Nothing was appended.
        """
        with FileIO(self.path / METRICS, "ab") as file:
            append(file, _as_lines(metrics))
            os.fsync(file.fileno())

    def clear_leftovers(self) -> None:
        """Remove the incomplete files and directories of a killed process, in the run and beside it."""
        sweep([self.path])
        sweep_below(self.path)

    def forget_metrics_after(self, step: int) -> None:
        """Remove the metrics of later steps, which a resumed run will log again."""
        with atomic_file(self.path / METRICS, force=True) as part, part.open("wb") as file:
            for metrics in self.metrics():
                if metrics.step <= step:
                    file.write(_as_lines([metrics]))


def _as_lines(metrics: Iterable[Metrics]) -> bytes:
    return "".join(f"{line.model_dump_json(exclude_none=True)}\n" for line in metrics).encode()
