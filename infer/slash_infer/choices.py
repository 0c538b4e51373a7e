"""Arguments that take one of a few values. Imports nothing slow: the command line shows them in its help."""

from typing import Literal

Precision = Literal["fp32", "int8", "fp16"]
"""What a bundle's graphs compute in."""

PrecisionName = Literal["auto", "fp32", "int8", "fp16"]
"""A precision, or the fastest one that the engine and the bundle have."""

EngineName = Literal["auto", "cluster", "tensorrt", "cuda", "compiled", "cpu"]
"""What runs the model, or the first that works."""

Normalise = Literal["peak", "loudness"]
"""What a finished clip's level is set by."""

AudioFormat = Literal["wav", "flac", "ogg", "raw"]
"""Of files; `raw`, PCM without a header, of streams alone."""

Bits = Literal[16, 24, 32]
"""Of a sample in an audio file; 32 is float."""
