"""The directory of a training run: its metadata, metrics and checkpoints."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slash_infer import __version__
from slash_infer.errors import UserError
from slash_infer.files import atomic_directory, atomic_file, read_json, sweep_below, write_json
from slash_train.checkpoint import CheckpointStore
from slash_train.config import Preset, parse_preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN
from slash_train.trained_model import TrainedModel

METADATA = "run.json"
MADE_BY = "slash train"
SCHEMA_VERSION = 2
METRICS = "metrics.jsonl"
CURVE = "learning_curve.png"
PREVIEWS = "previews"
TENSORBOARD = "tensorboard"


class Run:
    """An existing run.

    Args:
        path: the directory of the run.

    Raises:
        UserError: the directory is not a run, or its configuration cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata = read_json(path / METADATA, "a run", "make one with slash train")
        if self.metadata.get("schema_version") != SCHEMA_VERSION or "preset" not in self.metadata:
            raise UserError(path / METADATA, "is damaged, or from another version of Slash", "train anew")
        self.preset = parse_preset(self.metadata["preset"], source=str(path / METADATA))
        self.checkpoints = CheckpointStore(path)

    @classmethod
    def create(cls, path: Path, preset_name: str, preset: Preset, corpus: Corpus, *, force: bool = False) -> "Run":
        """Make the directory `path` for a new run. With `force`, it may replace an existing run."""
        content: dict[str, Any] = {
            "made_by": MADE_BY,
            "schema_version": SCHEMA_VERSION,
            "slash_version": __version__,
            "preset_name": preset_name,
            "preset": preset.model_dump(mode="json"),
            "corpus": str(corpus.path.resolve()),
            "corpus_sha256": corpus.fingerprint(),
        }
        with atomic_directory(path, force=force, metadata=METADATA, made_by=MADE_BY) as folder:
            write_json(folder / METADATA, content)
        return cls(path)

    def change(self, preset: Preset) -> None:
        """Change the configuration that the run continues with."""
        self.metadata["preset"] = preset.model_dump(mode="json")
        write_json(self.path / METADATA, self.metadata)
        self.preset = preset

    @property
    def preset_name(self) -> str:
        """The preset that the run was started from."""
        return str(self.metadata.get("preset_name"))

    @property
    def corpus_path(self) -> Path:
        """Where the run's corpus was when the run was started."""
        return Path(str(self.metadata.get("corpus")))

    def load_model(self, which: str) -> TrainedModel:
        """Load the model of a checkpoint, on the CPU, with the EMA of the weights if the run keeps one.

        Args:
            which: `best`, `last`, or the directory of a checkpoint.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        checkpoint = self.checkpoints.find(which)
        model = SampleRNN(self.preset.model, self.preset.audio.codec.levels)
        checkpoint.load_weights(model, ema=self.preset.training.ema_decay > 0)
        state = checkpoint.trainer_state()
        return TrainedModel(model.eval(), self.preset, self.preset_name, state.step, state.valid_bits)

    def metrics(self) -> Iterator[Metrics]:
        """Yield the logged metrics in order, without a last line that a killed process left incomplete.

        Raises:
            UserError: a line is damaged.
        """
        path = self.path / METRICS
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                yield Metrics.model_validate_json(line)
            except ValueError:
                raise UserError(path, "has a damaged line", "remove the line") from None

    def log(self, metrics: Metrics) -> None:
        """Append one line of metrics and flush it to disk: no checkpoint may exist without the metrics before it."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(metrics.model_dump_json(exclude_none=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def clear_leftovers(self) -> None:
        """Remove the incomplete files and directories of a killed process."""
        sweep_below(self.path)

    def forget_metrics_after(self, step: int) -> None:
        """Remove the metrics of later steps, which a resumed run will log again."""
        kept = [metrics for metrics in self.metrics() if metrics.step <= step]
        with atomic_file(self.path / METRICS, force=True) as part:
            part.write_text("".join(m.model_dump_json(exclude_none=True) + "\n" for m in kept), encoding="utf-8")
