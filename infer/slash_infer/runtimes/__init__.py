"""Executes a bundle's graphs: the interface of a runtime, its implementations, and which of them work here."""
