"""What `run.json` says: the configuration of a run, the corpus that it was started on, and its ancestors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slash_infer import __version__
from slash_infer.bundle import Ancestor
from slash_infer.errors import UserError, first_fault
from slash_infer.files import check_directory_output, read_json, real_path
from slash_train.config import Preset
from slash_train.corpus import SPLITS, Corpus
from slash_train.stored import Natural

METADATA = "run.json"
CHECKSUMS = "checksums.json"
"""Of a checkpoint."""
MADE_BY: Literal["slash train"] = "slash train"


class UsedCorpus(BaseModel):
    """A corpus that a run trains on, and what it is known by wherever it is moved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """Where it was when training was last started."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Its fingerprint."""
    recordings: Natural
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @classmethod
    def describe(cls, corpus: Corpus) -> Self:
        """Describe a corpus."""
        return cls(
            path=str(real_path(corpus.path)),
            sha256=corpus.fingerprint(),
            recordings=len(corpus.manifest.recordings),
            seconds=sum(corpus.length(split) for split in SPLITS) / corpus.sample_rate,
        )

    @property
    def size(self) -> str:
        """How much it holds, in words."""
        return f"{self.recordings} recording{'s' * (self.recordings != 1)}, {self.seconds / 60:.1f} minutes"

    @property
    def place(self) -> str:
        """Where it was, in words, and whether it is gone."""
        return self.path if Path(self.path).exists() else f"{self.path}, which is gone: where it was moved, give that"


def check_new_run(out: Path, inputs: Sequence[Path], *, force: bool) -> None:
    """Check, before any work is done, that a run may be made at `out`.

    Args:
        out: the directory to make.
        inputs: what will be read.
        force: whether an existing run may be replaced.

    Raises:
        UserError: it may not.
    """
    check_directory_output(out, force=force, metadata=METADATA, made_by=MADE_BY, inputs=inputs)


class RunMetadata(BaseModel):
    """The contents of `run.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_by: Literal["slash train"] = MADE_BY
    schema_version: Literal[5] = 5
    slash_version: str = __version__
    preset_name: Annotated[str, Field(max_length=1000)]
    preset: Preset
    corpus: UsedCorpus
    ancestors: tuple[Ancestor, ...] = ()
    """The checkpoints that it began with, the nearest first."""

    @classmethod
    def read(cls, run: Path) -> Self:
        """Read that of a run.

        Raises:
            UserError: there is none, or it is damaged, or of another version.
        """
        content = read_json(run / METADATA, "a run", "make one with slash train")
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            fault = f"is damaged, or from another version of Slash ({first_fault(error)})"
            raise UserError(run / METADATA, fault, "restore it from a copy of the run, or train anew") from None
