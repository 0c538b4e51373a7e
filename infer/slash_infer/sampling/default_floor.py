"""The floor where none is given. Imports nothing: the command line shows it in its help."""

DEFAULT_FLOOR = 0.0
"""Of a codec of 256 levels. For Q levels it is 256 / Q times as much, as even probabilities are."""
