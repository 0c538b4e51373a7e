"""Where graphs run: what a runtime is, the runtimes there are, and which of them work here."""
