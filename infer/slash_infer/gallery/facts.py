"""The text about a clip in the gallery."""

from slash_infer.clips.sidecar import ClipHeard, ClipRecipe, PrimeSource
from slash_infer.gallery.find import Clip


def summary(clip: Clip) -> str:
    """Return the few words that tell a clip from its neighbours."""
    measures = clip.sidecar.outcome.measures
    score = "" if measures is None else f", score {measures.score:.2f}"
    return f"Seed {clip.seed}, temperature {_temperature(clip.sidecar.recipe)}{score}"


def facts(clip: Clip) -> list[tuple[str, str]]:
    """Return everything known about a clip, as names and values to read."""
    recipe, outcome, prime = clip.sidecar.recipe, clip.sidecar.outcome, clip.sidecar.prime
    checkpoint = clip.sidecar.provenance
    texts = {
        "Seed": str(clip.seed),
        "Clip": str(clip.number),
        "Temperature": _temperature(recipe),
        "Floor": f"{recipe.floor:g}" if recipe.floor else None,
        "Candidates": str(recipe.candidates) if recipe.candidates > 1 else None,
        "Length": f"{outcome.seconds:.4g} s",
        "Checkpoint": f"{checkpoint.preset}, step {checkpoint.step:,}",
        "Held-out recordings": _bits(checkpoint.valid_bits),
        "This clip": _bits(outcome.bits_per_sample),
        "Score": None if outcome.measures is None else f"{outcome.measures.score:.2f} of 1",
        **_heard(clip.sidecar.outcome.heard),
        "Faults": ", ".join(faults(clip)) or None,
        "Speed": _speed(outcome.realtime_batch, outcome.clips_together),
        "Engine": f"{outcome.engine}, {recipe.precision}",
        "Level": None if recipe.normalise is None else f"normalised to {recipe.normalise}",
        "Continues": None if prime is None else _prime(prime, included=recipe.include_prime),
        "File": clip.name,
    }
    return [(name, text) for name, text in texts.items() if text is not None]


def faults(clip: Clip) -> list[str]:
    """Return what is wrong with a clip."""
    outcome = clip.sidecar.outcome
    early = [] if outcome.complete else ["stopped early"]
    return early + ([] if outcome.measures is None else [*outcome.measures.faults])


def command(clip: Clip) -> str | None:
    """Return the command that makes a clip again, if there is one."""
    return clip.sidecar.outcome.again


def _temperature(recipe: ClipRecipe) -> str:
    temperature = recipe.temperature
    return temperature if isinstance(temperature, str) else f"{temperature:g}"


def _bits(bits: float | None) -> str | None:
    return None if bits is None else f"{bits:.3f} bits/sample"


def _heard(heard: ClipHeard | None) -> dict[str, str | None]:
    if heard is None:
        return {}
    return {
        "Harmonicity": f"{heard.harmonicity:.2f} of 1",
        "Stuck": f"{100 * heard.stuck:.0f}% of the time",
        "Distance": None if heard.distance is None else f"{heard.distance:.4g} from the recordings",
    }


def _speed(realtime_batch: float | None, clips_together: int) -> str | None:
    """Return how fast a clip was generated, as a multiple of realtime. Clips of a batch share its speed."""
    if realtime_batch is None:
        return None
    if clips_together < 2:
        return f"{realtime_batch:.2f} x realtime"
    each = realtime_batch / clips_together
    return f"{each:.2f} x realtime, {realtime_batch:.2f} x for {clips_together} together"


def _prime(prime: PrimeSource, *, included: bool) -> str:
    where = "the file begins with it" if included else "not in the file"
    return f"{prime.seconds:.4g} s of {prime.file} from {prime.start:.4g} s, {where}"
