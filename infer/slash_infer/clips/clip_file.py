"""A clip on its way into a file, and the page beside it: both appear when it is finished, or neither."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slash_infer.audio.audio_files import AudioFile, Tags, audio_file
from slash_infer.audio.normalisation import normalise
from slash_infer.clips.sidecar import Sidecar

Float32 = npt.NDArray[np.float32]


class ClipFile:
    """A clip being written, whole seconds of it in memory only where it is to be normalised.

    Args:
        file: that takes its samples.
        page: what its page is going to say, all going well.
    """

    def __init__(self, file: AudioFile, page: Sidecar) -> None:
        self._file, self.page = file, page
        self._held: list[Float32] = []
        self.given_up = False

    def write(self, samples: Float32) -> None:
        """Append samples in [-1, 1], [T]."""
        if self.page.normalise is None:
            self._file.write(samples)
        else:
            self._held.append(samples)

    def finish(self, page: Sidecar) -> None:
        """Write what was held back, and take what the page says in the end."""
        if page.normalise is not None:
            self._file.write(normalise(np.concatenate(self._held), page.sample_rate, page.normalise))
        self.page = page

    def give_up(self) -> None:
        """Leave what stands in its place as it is: nothing of this clip is to appear."""
        self.given_up = True


class _GivenUp(Exception):  # noqa: N818  it is no error
    """Leaves the writing of a file before it appears."""


@contextmanager
def clip_file(path: Path, page: Sidecar, prime: Float32 | None) -> Iterator[ClipFile]:
    """Write a clip and its page; the page comes first, so that no clip is ever without.

    Where a clip stands already the new one comes first: killed between the two, it is taken for what it was, and made
    again.

    Args:
        path: of the clip.
        page: what its page is going to say.
        prime: what it continues.
    """
    page_path, stood = sidecar_path(path), path.exists()
    try:
        with audio_file(path, page.sample_rate, page.bits, _tags(page)) as file:
            clip = ClipFile(file, page)
            if prime is not None and page.include_prime:
                clip.write(prime)
            yield clip
            if clip.given_up:
                raise _GivenUp
            if not stood:
                clip.page.write(page_path)
        if stood:
            clip.page.write(page_path)
    except _GivenUp:
        pass
    except BaseException:
        if not path.exists():
            page_path.unlink(missing_ok=True)
        raise


def sidecar_path(clip: Path) -> Path:
    """Return the path of a clip's page."""
    return clip.with_suffix(".json")


def _tags(page: Sidecar) -> Tags:
    source = f"SampleRNN preset {page.provenance.preset}, step {page.provenance.step}"
    drawn = f"temperature {page.temperature}, slash {page.slash_version}, {page.engine} {page.precision}"
    return Tags(f"clip {page.clip}, seed {page.seed}", f"{source}, manifest {page.manifest_sha256}, {drawn}")
