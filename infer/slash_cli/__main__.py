"""`python -m slash_cli`: the `slash` command."""

from slash_cli import main

main()
