"""Puts a clip and its sidecar in place: no clip is ever without one, and no sidecar claims more than there is."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from slash_infer.audio.audio_files import AudioFile, Tags, audio_file
from slash_infer.audio.normalisation import normalise
from slash_infer.audio.sinks import Sink
from slash_infer.clips.place import Place
from slash_infer.clips.sidecar import MADE_BY, REMEDY, SIDECAR_LIMIT, ClipRecipe, Sidecar, sidecar_path
from slash_infer.errors import UserError
from slash_infer.files import atomic_file, locked, naming_errors, open_plain_file

Float32 = npt.NDArray[np.float32]


class ClipFile(Sink):
    """A clip being written. It is held in memory only if it is to be normalised.

    Args:
        file: that takes the samples.
        recipe: the clip's.
        sample_rate: in Hz.
    """

    def __init__(self, file: AudioFile, recipe: ClipRecipe, sample_rate: int) -> None:
        self._file, self._normalise, self._sample_rate = file, recipe.normalise, sample_rate
        self._held: list[Float32] = []
        self.sidecar: Sidecar | None = None
        """What goes beside the clip; None until it is finished, and for a clip that is given up."""

    @override
    def write(self, samples: Float32) -> None:
        if self._normalise is None:
            self._file.write(samples)
        else:
            self._held.append(samples)

    def finish(self, sidecar: Sidecar) -> None:
        """Write what was held in memory, and take the sidecar. Without this call, the clip does not appear."""
        if self._normalise is not None:
            self._file.write(normalise(np.concatenate(self._held), self._sample_rate, self._normalise))
        self.sidecar = sidecar


class _GivenUp(Exception):  # noqa: N818  it is no error
    """Leaves the writing of a file before it appears."""


@contextmanager
def clip_file(
    path: Path, recipe: ClipRecipe, sample_rate: int, tags: Tags, place: Place | None = None
) -> Iterator[ClipFile]:
    """Write a clip and its sidecar. Both appear when the body has finished the clip, or neither.

    Args:
        path: of the clip.
        recipe: the clip's.
        sample_rate: in Hz.
        tags: to store in the file.
        place: what may be replaced there; by default, what is there now.

    Raises:
        UserError: something else is there by then, or it cannot be written.
    """
    place = place or Place.look(path)
    try:
        with (
            sidecar_beside(path, place) as describe,
            audio_file(path, sample_rate, recipe.bits, tags, force=place.is_taken) as file,
        ):
            clip = ClipFile(file, recipe, sample_rate)
            yield clip
            if clip.sidecar is None:
                raise _GivenUp
            describe(clip.sidecar)
    except _GivenUp:
        pass


@contextmanager
def sidecar_beside(clip: Path, place: Place | None = None) -> Iterator[Callable[[Sidecar], None]]:
    """Write a sidecar while the body puts the clip in place. The body calls what is yielded just before it does.

    A new clip appears after its sidecar, so it is never without one. A longer version of a clip that was cut short
    appears before its sidecar: if the process is killed in between, the old sidecar makes the job generate it again.
    Where another clip is replaced, its sidecar goes first, since it is untrue as soon as the new clip is there.

    From the call on, other processes wait with their clips for the same place.

    Args:
        clip: the file of the clip.
        place: what may be replaced there; by default, what is there now.
    """
    place, path = place or Place.look(clip), sidecar_path(clip)
    with ExitStack() as stack:

        def describe(sidecar: Sidecar) -> None:
            stack.enter_context(naming_errors(clip))
            stack.enter_context(locked(path))
            now = place.look_again()
            stack.enter_context(_replaced(path, sidecar, now) if now.is_taken else _new(path, sidecar, clip))

        yield describe


@contextmanager
def _new(path: Path, sidecar: Sidecar, clip: Path) -> Iterator[None]:
    """Write the sidecar of a new clip before the body puts the clip in place."""
    sidecar.write(path)
    try:
        yield
    except UserError:
        path.unlink(missing_ok=True)
        raise
    except BaseException:  # a signal, before or after the clip was there
        if not clip.exists():
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _replaced(path: Path, sidecar: Sidecar, place: Place) -> Iterator[None]:
    """Write the sidecar of a clip that replaces another, after the body has put the clip in place.

    All but its last move is done before, so that a full disk cannot come in between.
    """
    with atomic_file(path, force=True, made_by=MADE_BY) as part:
        sidecar.write(part)
        before = None
        if os.path.lexists(path) and not _is_cut_short(path, sidecar):
            with open_plain_file(path, "a clip's sidecar", REMEDY, limit=SIDECAR_LIMIT) as file:
                before = file.read()
            path.unlink()
        try:
            yield
        except BaseException:
            if before is not None and Place.look(place.file) == place:
                with atomic_file(path) as old:
                    old.write_bytes(before)
            raise


def _is_cut_short(path: Path, longer: Sidecar) -> bool:
    """Return whether the sidecar at `path` describes a clip that was cut short, with the recipe of `longer`."""
    try:
        sidecar = Sidecar.read(path)
    except UserError:
        return False
    return sidecar.recipe == longer.recipe and not sidecar.outcome.complete
