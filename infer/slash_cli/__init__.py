"""The `slash` command."""

from slash_cli.app import main

__all__ = ["main"]
