"""Measures clips, and scores them: by their nearness to the recordings that were learned, where these are known."""

from dataclasses import replace
from pathlib import Path

from slash_infer.audio.clip_blocks import open_clip
from slash_infer.audio.ear.hearing import Heard, hear
from slash_infer.audio.ear.recordings import Recordings
from slash_infer.audio.ear.source import source_of_clip
from slash_infer.audio.measures import Meter
from slash_infer.clips.sidecar import ClipHeard, Sidecar


def measured(file: Path, sidecar: Sidecar, recordings: Recordings | None) -> Sidecar:
    """Return a clip's sidecar with what is measured in its file, without its prime.

    Args:
        file: the clip.
        sidecar: the clip's.
        recordings: those that its model has learned from. If they are known, the score is the audible share of the
            clip times its nearness to them; if not, that of `Meter`.

    Raises:
        UserError: the file is not readable audio.
    """
    outcome = sidecar.outcome
    with open_clip(file, outcome.seconds) as clip:
        meter = Meter(clip.rate)
        for block in clip:
            meter.add(block)
    held_out, drawn = sidecar.provenance.valid_bits, outcome.bits_per_sample
    measures = meter.measures(drawn - held_out if drawn is not None and held_out is not None else None)
    heard = hear(source_of_clip(file, outcome.seconds))
    if recordings is not None:
        measures = replace(measures, score=(1 - measures.silent) * recordings.nearness(heard))
    return sidecar.with_measures(measures, _described(heard, recordings))


def _described(heard: Heard, recordings: Recordings | None) -> ClipHeard:
    return ClipHeard(
        harmonicity=heard.harmonicity,
        stuck=heard.stuck,
        onsets=heard.onsets,
        centroid=heard.centroid,
        distance=recordings.reference.distance(heard.segments) if recordings and heard.segments.count else None,
    )
