"""What the gallery says about a clip."""

from slash_infer.clips.sidecar import PrimeSource, Sidecar
from slash_infer.gallery.clips import Clip


def in_short(page: Sidecar) -> str:
    """Say in a few words what tells a clip from its neighbours."""
    score = "" if page.measures is None else f", score {page.measures.score:.2f}"
    return f"Seed {page.seed}, temperature {_temperature(page)}{score}"


def facts(clip: Clip) -> list[tuple[str, str]]:
    """Return what is known of a clip, as names and values to read."""
    page = clip.page
    checkpoint = page.provenance
    said = {
        "Seed": str(page.seed),
        "Clip": str(page.clip),
        "Temperature": _temperature(page),
        "Length": f"{page.seconds:.4g} s",
        "Checkpoint": f"{checkpoint.preset}, step {checkpoint.step:,}",
        "Held-out recordings": _bits(checkpoint.valid_bits),
        "This clip": _bits(page.bits_per_sample),
        "Score": None if page.measures is None else f"{page.measures.score:.2f} of 1",
        "Faults": ", ".join(faults(page)) or None,
        "Speed": _speed(page),
        "Engine": f"{page.engine}, {page.precision}",
        "Level": None if page.normalise is None else f"normalised to {page.normalise}",
        "Continues": None if page.prime is None else _prime(page.prime, included=page.include_prime),
        "File": clip.name,
    }
    return [(name, value) for name, value in said.items() if value is not None]


def faults(page: Sidecar) -> list[str]:
    """Return what is wrong with a clip."""
    early = [] if page.complete else ["stopped early"]
    return early + ([] if page.measures is None else [str(fault) for fault in page.measures.faults])


def _temperature(page: Sidecar) -> str:
    return page.temperature if isinstance(page.temperature, str) else f"{page.temperature:g}"


def _bits(bits: float | None) -> str | None:
    return None if bits is None else f"{bits:.3f} bits/sample"


def _speed(page: Sidecar) -> str | None:
    """Say how fast the clip was made; those made together share the speed of their batch."""
    if page.realtime_batch is None:
        return None
    if page.clips_together < 2:
        return f"{page.realtime_batch:.2f} x realtime"
    each = page.realtime_batch / page.clips_together
    return f"{each:.2f} x realtime, {page.realtime_batch:.2f} x for {page.clips_together} together"


def _prime(prime: PrimeSource, *, included: bool) -> str:
    where = "the file begins with it" if included else "not in the file"
    return f"{prime.seconds:.4g} s of {prime.file} from {prime.start:.4g} s, {where}"
