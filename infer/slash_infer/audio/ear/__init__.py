"""Measures that say how far generated audio is from recordings. Defined in docs/measures.md."""
