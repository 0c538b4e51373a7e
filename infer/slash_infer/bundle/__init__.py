"""The exported model on disk: ONNX graphs, initial states, and the manifest that describes them.

Generating needs a bundle and nothing else.
"""

from slash_infer.bundle.manifest import (
    MADE_BY,
    MANIFEST,
    MOST_SURPRISE,
    PRECISIONS,
    SCHEMA_VERSION,
    STATE_NAMES,
    Ancestor,
    Fidelity,
    FileEntry,
    FrameTierEntry,
    Manifest,
    Parity,
    Provenance,
    Recorded,
    SampleTierEntry,
    Variant,
    describe_file,
)
from slash_infer.bundle.reader import BOX, Bundle, check_bundle
from slash_infer.choices import Precision

__all__ = [
    "BOX",
    "MADE_BY",
    "MANIFEST",
    "MOST_SURPRISE",
    "PRECISIONS",
    "SCHEMA_VERSION",
    "STATE_NAMES",
    "Ancestor",
    "Bundle",
    "Fidelity",
    "FileEntry",
    "FrameTierEntry",
    "Manifest",
    "Parity",
    "Precision",
    "Provenance",
    "Recorded",
    "SampleTierEntry",
    "Variant",
    "check_bundle",
    "describe_file",
]
