"""Makes the model that comes with Slash out of a run: its bundle, and the weights to go on from (docs/box.md).

slash prepare solos solos-more --out corpus --valid-list valid.txt --test-list test.txt
slash train corpus --out run --preset live --steps 20000
python benchmarks/box.py run
python benchmarks/sound.py corpus --bundle infer/slash_infer/box -n 32 --json benchmarks/results/sound_box.json
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from slash_cli.info import print_bundle
from slash_export.bundle_writer import export
from slash_infer.bundle import BOX as BUNDLE
from slash_infer.files import scratch_directory
from slash_train.box import BOX as WEIGHTS
from slash_train.box import write_box
from slash_train.origin import Origin
from slash_train.run import Run

MOST_BYTES = 8_000_000  # of the bundle, and again of the weights


def main(run: Annotated[Path, typer.Argument(help="The run, whose best checkpoint is taken.")]) -> None:
    """Replace what is in the box."""
    origin = Origin.open(run)
    with scratch_directory("box") as scratch:
        bundle, weights = scratch / BUNDLE.name, scratch / WEIGHTS.name
        print_bundle(bundle, export(Run(run), bundle, precisions=["int8"], without_fp32=True))
        weights.mkdir()
        write_box(origin.trained, origin.ancestors, weights)
        for folder in (bundle, weights):
            size = sum(file.stat().st_size for file in folder.iterdir())
            print(f"{folder.name}: {size:,} bytes")
            if size > MOST_BYTES:
                raise SystemExit(f"{folder.name}: more than {MOST_BYTES:,} bytes")
        for folder, place in ((bundle, BUNDLE), (weights, WEIGHTS)):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place)


if __name__ == "__main__":
    typer.run(main)
