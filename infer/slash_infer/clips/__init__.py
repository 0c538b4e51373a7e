"""Finished clips: rendered into files with their sidecars, continued from primes, resumed, and chosen among many."""
