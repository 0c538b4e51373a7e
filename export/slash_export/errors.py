"""Errors of an export."""


class ParityError(Exception):
    """The exported graphs do not compute what the model computes: a defect of the export, not of the input."""
