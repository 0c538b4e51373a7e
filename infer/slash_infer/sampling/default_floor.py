"""The floor where none is given. Imports nothing: the command line shows it in its help."""

DEFAULT_FLOOR = 0.0
"""Leaves no code out."""
