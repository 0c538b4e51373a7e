"""What audio can be, and not: rates and levels that no recording has; and why libsndfile refuses a file."""

from slash_infer.errors import first_line

RATES = range(1000, 768_001)
"""Sample rates in Hz that a recording can have."""
LOUDEST = 1e6
"""Times full scale: float formats hold louder samples, but no recording does, and their squares may not be finite."""


def libsndfile_reason(error: Exception) -> str:
    """Return why libsndfile, or its wrapper, refuses a file."""
    return getattr(error, "error_string", None) or first_line(error)
