"""The `slash` command."""

from slash_infer.cli.app import main

__all__ = ["main"]
