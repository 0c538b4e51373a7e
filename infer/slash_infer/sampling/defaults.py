"""How each block of a clip is drawn where the caller does not say: how often, and at which temperature."""

DEFAULT_CANDIDATES = 8
MOST_CANDIDATES = 64
DEFAULT_TEMPERATURE = 1.0
