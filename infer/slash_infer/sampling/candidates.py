"""How often each block of a clip is drawn."""

DEFAULT_CANDIDATES = 4
MOST_CANDIDATES = 64
