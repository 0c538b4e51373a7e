"""What finer codes cost and gain: a preset with 256, 512 and 1024 levels, at equal CPU time.

    slash prepare solos --out corpus --valid 0.2 --test 0.2
    python benchmarks/levels.py corpus --json benchmarks/results/levels.json

Bits of different codecs do not compare. So the probabilities of finer codes are added up into those of the 256 codes
that their samples have, and bits are those of the 256. Where finer codes round a sample across the border between two
of the 256, it counts as what it was rounded to. Beside them, the codec's signal-to-noise ratio on the
held-out recordings: how far encoding and decoding alone stay from the recordings.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from learning import HELD_OUT, Learned, learn, report, side_by_side, table
from torch.nn import functional
from typing_extensions import override

from slash_infer.codec import PCM16_SCALE, Codec
from slash_infer.files import write_json
from slash_train.config import load_preset
from slash_train.corpus import Corpus
from slash_train.evaluate import ModelScorer
from slash_train.streams import NO_TARGET, Window

COARSE = Codec(levels=256)


def main(
    corpus: Annotated[Path, typer.Argument(help="A corpus with validation and test splits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the result.")] = None,
    preset: Annotated[str, typer.Option(help="The preset.")] = "live",
    levels: Annotated[list[int] | None, typer.Option(help="May be repeated. [default: 256, 512, 1024]")] = None,
    seconds: Annotated[float, typer.Option(help="CPU time of each, in seconds of one thread.")] = 150.0,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, with different seeds.")] = 2,
    jobs: Annotated[int, typer.Option(help="Trainings in parallel, one thread each.")] = 2,
) -> None:
    """Train and score with every number of levels and seed."""
    each = levels or [256, 512, 1024]
    learned = side_by_side(_learn, [(n, corpus, preset, seconds, seed) for n in each for seed in range(seeds)], jobs)
    opened = Corpus(corpus)
    ratios = {n: signal_to_noise(Codec(levels=n), opened) for n in each}
    print(table(learned))
    print("\n".join(f"{n} levels: {ratio:.1f} dB of signal over noise" for n, ratio in ratios.items()))
    if json_file is not None:
        content = report(learned, corpus, preset=preset, cpu_seconds=seconds, signal_to_noise_db=ratios)
        write_json(json_file, content)


def _learn(levels: int, corpus: Path, preset: str, seconds: float, seed: int) -> Learned:
    configuration = load_preset(preset, [f"audio.codec.levels={levels}", f"training.seed={seed}"])
    called = f"{preset}, {levels} levels, seed {seed}"
    clock = time.process_time
    return learn(called, configuration, Corpus(corpus), seconds=seconds, clock=clock, scorer=CoarseScorer)


class CoarseScorer(ModelScorer):
    """Scores audio by the 256 codes that the samples of a model's codes have."""

    def __init__(self, model: Any, codec: Codec) -> None:
        super().__init__(model, codec)
        self._coarse = torch.from_numpy(COARSE.encode(codec.decode(np.arange(codec.levels))).astype(np.int64))

    @override
    def nll(self, window: Window) -> npt.NDArray[np.float64]:
        probabilities = self.logits(window).double().softmax(dim=2)
        merged = torch.zeros(*probabilities.shape[:2], COARSE.levels, dtype=torch.float64)
        merged.index_add_(2, self._coarse, probabilities)
        targets = torch.from_numpy(window.targets)
        known = torch.where(targets == NO_TARGET, targets, self._coarse[targets.clamp(min=0)])
        nll = functional.nll_loss(merged.log().transpose(1, 2), known, ignore_index=NO_TARGET, reduction="none")
        return np.asarray(nll.sum(1).numpy())


def signal_to_noise(codec: Codec, corpus: Corpus) -> float:
    """Return the power of the held-out recordings over that of what encoding and decoding changes, in dB."""
    signal = noise = 0.0
    for recording in corpus.manifest.recordings:
        for region in (region for region in recording.regions if region.split in HELD_OUT):
            pcm = corpus.pcm[region.start : region.start + region.length]
            samples = pcm / PCM16_SCALE
            signal += float(np.square(samples).sum())
            noise += float(np.square(codec.decode(codec.encode_pcm16(pcm)) - samples).sum())
    return float(10 * np.log10(signal / noise))


if __name__ == "__main__":
    typer.run(main)
