"""`python -m slash_cli`: the `slash` command."""

from slash_cli.app import main

main()
