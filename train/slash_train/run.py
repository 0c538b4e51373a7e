"""A training run's directory: its configuration, metrics and checkpoints."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slash_infer import __version__
from slash_infer.errors import UserError
from slash_infer.files import atomic_directory, atomic_file, read_json, write_json
from slash_train.checkpoint import Checkpoint, CheckpointStore
from slash_train.config import Preset, parse_preset
from slash_train.corpus import Corpus
from slash_train.metrics import Metrics
from slash_train.model import SampleRNN

PAGE = "run.json"
MADE_BY = "slash train"
SCHEMA_VERSION = 1
METRICS = "metrics.jsonl"
CURVE = "learning_curve.png"
SAMPLES = "samples"
TENSORBOARD = "tensorboard"


class Run:
    """An existing run directory.

    Raises:
        UserError: the directory is not a run, or its configuration cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.page = read_json(path / PAGE, "a run; make one with: slash train CORPUS --out RUN")
        if self.page.get("schema_version") != SCHEMA_VERSION or "preset" not in self.page:
            raise UserError(path / PAGE, "is damaged, or from another version of Slash", "train anew")
        self.preset = parse_preset(self.page["preset"], source=str(path / PAGE))
        self.checkpoints = CheckpointStore(path)

    @classmethod
    def create(cls, path: Path, preset_name: str, preset: Preset, corpus: Corpus) -> "Run":
        """Make the directory `path` for a new run, in place of what stands there."""
        content: dict[str, Any] = {
            "made_by": MADE_BY,
            "schema_version": SCHEMA_VERSION,
            "slash_version": __version__,
            "preset_name": preset_name,
            "preset": preset.model_dump(mode="json"),
            "corpus": str(corpus.path.resolve()),
            "corpus_sha256": corpus.fingerprint(),
        }
        with atomic_directory(path) as folder:
            write_json(folder / PAGE, content)
        return cls(path)

    def change(self, preset: Preset) -> None:
        """Go on with another configuration."""
        self.page["preset"] = preset.model_dump(mode="json")
        write_json(self.path / PAGE, self.page)
        self.preset = preset

    @property
    def preset_name(self) -> str:
        """The preset the run was started from."""
        return str(self.page.get("preset_name"))

    @property
    def corpus_path(self) -> Path:
        """The corpus it was started on, where it was then."""
        return Path(str(self.page.get("corpus")))

    def load_model(self, which: str) -> tuple[SampleRNN, Checkpoint]:
        """Return the model, on the CPU, of the checkpoint `best`, `last` or at a path.

        Its weights are the averaged ones where the run keeps an average.
        """
        checkpoint = self.checkpoints.find(which)
        model = SampleRNN(self.preset.model, self.preset.audio.codec.levels)
        checkpoint.load_weights(model, averaged=self.preset.training.ema_decay > 0)
        return model.eval(), checkpoint

    def metrics(self) -> Iterator[Metrics]:
        """Yield the logged metrics in order. A last line that a killed process cut short is left out."""
        path = self.path / METRICS
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                yield Metrics.model_validate_json(line)
            except ValueError:
                raise UserError(path, "has a damaged line", "remove the line") from None

    def log(self, metrics: Metrics) -> None:
        """Append one line of metrics, and wait until it is on the disk: a checkpoint must not outlive it."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(metrics.model_dump_json(exclude_none=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def clear_leftovers(self) -> None:
        """Remove what a killed process left half-made."""
        for pattern in (".*.part", ".*.old"):
            for left in list(self.path.rglob(pattern)):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)  # it may have gone with its folder

    def forget_metrics_after(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run will log it again."""
        kept = [metrics for metrics in self.metrics() if metrics.step <= step]
        with atomic_file(self.path / METRICS) as part:
            part.write_text("".join(m.model_dump_json(exclude_none=True) + "\n" for m in kept), encoding="utf-8")
