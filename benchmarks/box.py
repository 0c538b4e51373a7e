"""Makes the model that comes with Slash out of a run: its bundle, and the weights to go on from (docs/box.md).

slash prepare solos solos-more --out corpus --valid-list valid.txt --test-list test.txt
slash train corpus --out run --preset live --steps 24000
python benchmarks/box.py run
python benchmarks/sound.py corpus --bundle infer/slash_infer/box -n 32 --json benchmarks/results/sound_box.json
"""

from pathlib import Path
from typing import Annotated

import typer

from slash_cli.info import print_bundle
from slash_export.bundle_writer import export
from slash_infer.bundle import BOX as BUNDLE
from slash_train.box import BOX as WEIGHTS
from slash_train.box import write_box
from slash_train.origin import Origin
from slash_train.run import Run

MOST_BYTES = 8_000_000  # of the bundle, and again of the weights


def main(run: Annotated[Path, typer.Argument(help="The run, whose best checkpoint is taken.")]) -> None:
    """Replace what is in the box."""
    manifest = export(Run(run), BUNDLE, precisions=["int8"], without_fp32=True, force=True)
    print_bundle(BUNDLE, manifest)
    origin = Origin.open(run)
    WEIGHTS.mkdir(exist_ok=True)
    write_box(origin.trained, origin.ancestors, WEIGHTS)
    for folder in (BUNDLE, WEIGHTS):
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{folder}: {size:,} bytes")
        if size > MOST_BYTES:
            raise SystemExit(f"{folder}: more than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    typer.run(main)
