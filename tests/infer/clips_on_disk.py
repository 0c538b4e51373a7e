"""Clips for the tests of the gallery: real audio files with sidecars, without a model."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from slash_infer.bundle import Provenance
from slash_infer.clips.sidecar import ClipOutcome, ClipRecipe, Sidecar

RATE = 16_000
PROVENANCE = {"slash_version": "0.1.0", "torch_version": "2.13.0", "created": "2026-11-25T05:00:00+00:00"}


def write_clip(path: Path, *, step: int = 1000, seconds: float = 0.5, preset: str = "tiny", **changes: Any) -> Path:
    """Write a tone, whose pitch depends on the clip number, and its sidecar with `changes` of any of its fields."""
    clip = changes.get("clip", 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (220 + 55 * clip) * time)
    with path.open("wb") as file:
        soundfile.write(file, tone, RATE, format=path.suffix[1:])
    fields: dict[str, Any] = {
        "seed": 3,
        "clip": clip,
        "temperature": 0.95,
        "floor": 0.0,
        "candidates": 1,
        "restart": False,
        "seconds": seconds,
        "sample_rate": RATE,
        "engine": "cpu",
        "precision": "int8",
        "runtime": "ONNX Runtime",
        "slash_version": "0.1.0",
        "manifest_sha256": "0" * 64,
        "provenance": Provenance(**PROVENANCE, preset=preset, step=step, valid_bits=1.25, ancestors=()),
        "clips_together": 4,
        "realtime_batch": 6.0,
        "again": f"slash generate bundle --out again.wav --seed 3 --clip {clip}",
    }
    fields |= {"complete": True, **changes}
    recipe = ClipRecipe(**{name: fields.pop(name) for name in ClipRecipe.model_fields if name in fields})
    outcome = ClipOutcome(**{name: fields.pop(name) for name in ClipOutcome.model_fields if name in fields})
    Sidecar(recipe=recipe, outcome=outcome, **fields).write(path.with_suffix(".json"))
    return path
