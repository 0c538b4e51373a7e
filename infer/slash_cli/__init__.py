"""The `slash` command."""

from slash_cli.stopping import heed_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit. Signals are heeded before anything slow is imported."""
    heed_signals()
    from slash_cli.app import run

    run()
