"""`python -m slash_infer.cli`, as torchrun starts it."""

from slash_infer.cli import main

main()
