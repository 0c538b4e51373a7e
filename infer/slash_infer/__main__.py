"""`python -m slash_infer`: the `slash` command."""

from slash_infer.cli import main

main()
