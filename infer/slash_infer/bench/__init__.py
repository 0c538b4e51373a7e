"""Measures how fast a bundle generates, and whether a clip can be played while it is generated."""
