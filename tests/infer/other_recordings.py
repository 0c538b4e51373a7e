"""A bundle beside other recordings than it has learned from."""

from slash_infer.bundle import Bundle, Manifest, Recorded


def keeping_to(bundle: Bundle, recorded: Recorded | None) -> Bundle:
    """Return a bundle that has the same graphs, and whose clips keep to what other recordings do."""
    other = Bundle(bundle.path)
    other.manifest = Manifest(**{**dict(bundle.manifest), "recorded": recorded})
    return other
