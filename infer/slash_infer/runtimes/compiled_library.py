"""Compiles `compiled.c` with the machine's C compiler, once, and calls it.

The library is executable code. It is never taken from a bundle: only from the user's cache, and only under the key
that it was compiled for.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from slash_infer.files import atomic_file
from slash_infer.runtimes.plan_cache import user_cache
from slash_infer.runtimes.protocol import Unavailable

SOURCE = Path(__file__).with_name("compiled.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
COMPILING_SECONDS = 120.0

Pointer, Integer = ctypes.c_void_p, ctypes.c_int32


class Matrix(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (
        ("weight", Pointer),
        ("integers", Pointer),
        ("scales", Pointer),
        ("inputs", Integer),
        ("block", Integer),
    )


class Linear(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (("exact", Matrix), ("weight", Matrix), ("bias", Pointer), ("outputs", Integer), ("padded", Integer))


class Layer(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (("input", Linear), ("hidden", Linear))


class Tier(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (
        ("layers", ctypes.POINTER(Layer)),
        ("skip", Linear),
        ("upsample", Linear),
        ("samples", Pointer),
        *((name, Integer) for name in ("count", "frame", "hop", "upsampling", "out_features", "gru", "skips")),
    )


class Model(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (
        ("tiers", ctypes.POINTER(Tier)),
        ("table", Pointer),
        ("hidden", ctypes.POINTER(Linear)),
        ("output", Linear),
        *((name, Integer) for name in ("count", "history", "levels", "width", "layers", "stride")),
    )


class Batch(ctypes.Structure):
    """As in compiled.c."""

    _fields_ = (
        *((name, Pointer) for name in ("h", "c", "upsampled", "upsampled_stride", "x", "y", "z")),
        *((name, Pointer) for name in ("codes", "uniform", "temperature", "nll")),
        *((name, ctypes.c_int64) for name in ("codes_stride", "at", "first")),
        *((name, Integer) for name in ("rows", "times", "steps")),
        ("floor", ctypes.c_float),
    )


class Library:
    """The functions of `compiled.c`.

    Raises:
        Unavailable: there is no C compiler, or it fails.
        UserError: the cache cannot be used.
    """

    def __init__(self) -> None:
        compiler = find_compiler()
        path = user_cache("compiled") / f"{_key(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError:  # damaged, or of another system: compiled again
            _compile(compiler, path)
            self._library = ctypes.CDLL(str(path))
        self.tile = int(self._library.tile())
        """What numbers of outputs are padded to a multiple of."""
        self.lanes = int(self._library.lanes())
        """Numbers in a vector, which the width must be a multiple of."""

    def generate(self, model: Model, batch: Batch) -> None:
        """Take the steps that `batch` describes."""
        self._library.generate(ctypes.byref(model), ctypes.byref(batch))


def find_compiler() -> str:
    """Return the path of the C compiler: $CC, or one of COMPILERS.

    Raises:
        Unavailable: there is none.
    """
    named = [os.environ["CC"]] if os.environ.get("CC") else COMPILERS
    compiler = next((path for path in map(shutil.which, named) if path is not None), None)
    if compiler is None:
        raise Unavailable(f"there is no C compiler here ({', '.join(named)})")
    return compiler


def pointers(addresses: list[int]) -> Any:
    """Return an array of pointers."""
    return (Pointer * len(addresses))(*addresses)


def _key(compiler: str) -> str:
    """Return a file name for what the library depends on: source, flags, compiler and processor."""
    version = _run([compiler, "--version"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    parts = [SOURCE.read_text(encoding="utf-8"), *FLAGS, compiler, version, platform.platform(), processor]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _compile(compiler: str, to: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "compiled.so"
        _run([compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"])
        with atomic_file(to, force=True) as file:
            file.write_bytes(made.read_bytes())


def _run(command: list[str]) -> str:
    """Run the compiler and return what it prints."""
    try:
        done = subprocess.run(  # noqa: S603  the user's own compiler
            command, capture_output=True, text=True, check=False, timeout=COMPILING_SECONDS, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the C compiler {command[0]} does not run ({error})") from None
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise Unavailable(f"the C compiler {command[0]} cannot compile the model ({said})")
    return done.stdout
