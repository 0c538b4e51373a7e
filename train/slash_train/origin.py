"""Where a run may begin: with the weights of another run's checkpoint, to learn other recordings from there."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slash_infer.bundle import Ancestor
from slash_infer.errors import UserError
from slash_infer.files import check_exists
from slash_train.box import read_box
from slash_train.choices import names_the_box
from slash_train.config import Preset, change_preset, fixed_differences, load_preset
from slash_train.model import SampleRNN
from slash_train.run import Run
from slash_train.run_metadata import CHECKSUMS, METADATA
from slash_train.trained_model import TrainedModel

WARMUP_STEPS = 100
"""Of a run that begins with weights and whose recipe has no warm-up: fresh moments know nothing of them yet."""


@dataclass(frozen=True)
class Origin:
    """A checkpoint to begin with: its weights, but neither its optimiser nor its place in the data."""

    path: Path
    """The run's directory, for its best checkpoint, or the checkpoint's."""
    trained: TrainedModel
    """Its model, with the EMA of the weights if it has one."""
    ancestors: tuple[Ancestor, ...]
    """Itself and its own ancestors, the nearest first."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read it.

        Args:
            path: a run, or a checkpoint in a run's `checkpoints/`; or `box`, for the weights that come with Slash, if
                nothing else is called that.

        Raises:
            UserError: it is none of these, or damaged, or a run without a checkpoint.
        """
        if names_the_box(path):
            return cls(path, *read_box())
        check_exists(path, [METADATA, CHECKSUMS])
        around = Path(os.path.abspath(path)).parent.parent  # noqa: PTH100  # of a checkpoint; links stay as they are
        folder, which = (path, "best") if (path / METADATA).exists() else (around, str(path))
        if not (folder / METADATA).exists():
            raise UserError(path, "is not a run, nor a checkpoint inside one", "give a folder that slash train made")
        run = Run(folder)
        trained = run.load_model(which)
        corpus = run.metadata.corpus
        itself = Ancestor(
            preset=trained.preset_name,
            step=trained.step,
            valid_bits=trained.valid_bits,
            corpus_sha256=corpus.sha256,
            recordings=corpus.recordings,
            seconds=corpus.seconds,
        )
        return cls(path, trained, (itself, *trained.ancestors))

    def configuration(self, preset_name: str | None, overrides: Sequence[str]) -> Preset:
        """Return the configuration of a run that begins here: the origin's own or a preset, with a warm-up.

        Args:
            preset_name: the preset; None for the origin's configuration.
            overrides: texts such as `training.batch_size=8`.

        Raises:
            UserError: as for `load_preset`.
        """
        begun = self.trained.preset if preset_name is None else load_preset(preset_name)
        warm_up = [] if begun.training.warmup_steps else [f"training.warmup_steps={WARMUP_STEPS}"]
        return change_preset(begun, [*warm_up, *overrides])

    def pass_on(self, model: SampleRNN, preset: Preset) -> list[str]:
        """Copy the weights that fit into a new model.

        Args:
            model: the new model.
            preset: its configuration.

        Returns:
            the names of its other weights, which are left as they are.

        Raises:
            UserError: the codes of the two mean different samples, or less than half of the weights would be taken.
        """
        old, new = self.trained.preset, preset
        if old.audio.codec != new.audio.codec:
            before, after = (f"{each.audio.codec.kind} {each.audio.codec.levels}" for each in (old, new))
            raise UserError(
                self.path,
                f"has codes of {before}, and the new run of {after}",
                "take the same `overrides` audio.codec",
            )
        given, wanted = self.trained.model.state_dict(), model.state_dict()
        taken = {name: given[name] for name in wanted if name in given and given[name].shape == wanted[name].shape}
        if 2 * sum(each.numel() for each in taken.values()) < sum(each.numel() for each in wanted.values()):
            differences = [one for one in fixed_differences(old, new) if one.startswith("model.")]
            raise UserError(
                self.path,
                f"has another model, of which less than half fits: {'; '.join(differences)}",
                "leave out `preset`, and `overrides` of the model, to take its own",
            )
        model.load_state_dict(taken, strict=False)
        return [name for name in wanted if name not in taken]
