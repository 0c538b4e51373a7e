"""Generates audio from an exported SampleRNN bundle. Needs no PyTorch."""

__version__ = "0.1.0"
