"""Kills processes that put clips in place, before every single thing that they do to the disk; looks at what is left.

python tests/infer/killed_clips.py FOLDER

Prints, as JSON, how many were killed for each kind of clip. A clip is never without a sidecar, except where it is
about to be replaced by another, and no sidecar says what is not so of its clip.
"""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from killed_outputs import killed

from slash_infer.audio.audio_files import Tags
from slash_infer.bundle import Provenance
from slash_infer.clips.clip_file import clip_file
from slash_infer.clips.resume import check_places
from slash_infer.clips.sidecar import ClipOutcome, ClipRecipe, Sidecar, sidecar_path

RATE = 16_000
PROVENANCE = Provenance(
    slash_version="0", torch_version="2", created="", preset="tiny", step=1, valid_bits=None, ancestors=()
)
WHOLE, SHORT, OTHER = (1, 0.5, True), (1, 0.25, False), (2, 0.5, True)
"""Clips: their seed, their seconds, and whether they are complete."""


def make(file: Path, seed: int, seconds: float, complete: bool) -> None:
    """Put a clip in place, whatever is there."""
    (place,) = check_places([file], force=True)
    recipe = ClipRecipe(
        manifest_sha256="0",
        precision="fp32",
        seed=seed,
        clip=0,
        temperature=1.0,
        floor=0.0,
        candidates=1,
        restart=False,
    )
    outcome = ClipOutcome(seconds=seconds, complete=complete, engine="cpu", runtime="", slash_version="0")
    with clip_file(file, recipe, RATE, Tags(f"seed {seed}", "a test"), place) as clip:
        clip.write(np.zeros(round(seconds * RATE), np.float32))
        clip.finish(Sidecar(sample_rate=RATE, recipe=recipe, outcome=outcome, provenance=PROVENANCE))


def check(file: Path, *, may_lack: bool) -> None:
    """Check that a clip and its sidecar, if they are there, belong to each other."""
    sidecar = Sidecar.read(sidecar_path(file)) if sidecar_path(file).exists() else None
    if file.exists() and not (sidecar is None and may_lack):
        assert sidecar is not None
        with soundfile.SoundFile(file) as clip:
            assert clip.title == f"seed {sidecar.recipe.seed}"
            assert clip.frames >= sidecar.outcome.seconds * RATE


def kill_everywhere(folder: Path, before: tuple[int, float, bool] | None, after: tuple[int, float, bool]) -> int:
    """Return how many processes were killed."""
    kills, place = 0, folder / "place"
    while True:
        place.mkdir()
        file = place / "0.wav"
        if before is not None:
            make(file, *before)
        if not killed(partial(make, file, *after), kills):
            shutil.rmtree(place)
            return kills
        kills += 1
        check(file, may_lack=before == OTHER)
        make(file, *WHOLE)
        check(file, may_lack=False)
        assert sorted(path.name for path in place.iterdir()) == ["0.json", "0.wav"]
        assert Sidecar.read(sidecar_path(file)).outcome.complete
        shutil.rmtree(place)


if __name__ == "__main__":
    kinds = {"new": None, "longer": SHORT, "another": OTHER}
    counts = {kind: kill_everywhere(Path(sys.argv[1]), before, WHOLE) for kind, before in kinds.items()}
    sys.stdout.write(json.dumps(counts))
