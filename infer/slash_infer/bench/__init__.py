"""How fast a bundle generates, and whether it keeps up with playing."""
