"""Compiles `compiled.c` with the machine's C compiler, once, and calls it.

The library is executable code. It is never taken from a bundle: only from the user's cache, and only under the key
that it was compiled for.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from slash_infer.files import atomic_file, scratch_directory, sweep_below
from slash_infer.runtimes.plan_cache import user_cache
from slash_infer.runtimes.protocol import Unavailable

SOURCE = Path(__file__).with_name("compiled.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # of which compilers for some processors know only one
COMPILING_SECONDS = 120.0
DIGEST = ".sha256"  # beside a library: a damaged one could crash the process, or play something else

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

    _fields_ = (("exact", Matrix), ("weight", Matrix), ("bias", Pointer), ("padded", Integer))


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
        Unavailable: there is no C compiler, it fails, or what it makes cannot be loaded.
        UserError: the cache cannot be used.
    """

    def __init__(self) -> None:
        compiler, folder = find_compiler(), user_cache("compiled")
        sweep_below(folder)
        path = folder / f"{_key(compiler)}.so"
        library = _load(path)
        if library is None:
            _compile(compiler, path)
            library = _load(path)
        if library is None:
            raise Unavailable(f"the library that {compiler[0]} made, {path}, cannot be loaded")
        self._library = library
        self.tile = int(library.tile())
        """What numbers of outputs are padded to a multiple of."""
        self.lanes = int(library.lanes())
        """Numbers in a vector, which the width must be a multiple of."""

    def generate(self, model: Model, batch: Batch) -> None:
        """Take the steps that `batch` describes."""
        self._library.generate(ctypes.byref(model), ctypes.byref(batch))


def find_compiler() -> list[str]:
    """Return the words that start the C compiler: those of $CC, or one of COMPILERS.

    Raises:
        Unavailable: there is none.
    """
    named = [shlex.split(os.environ["CC"])] if os.environ.get("CC") else [[name] for name in COMPILERS]
    for program, *options in named:
        path = shutil.which(program)
        if path is not None:
            return [path, *options]
    raise Unavailable(f"there is no C compiler here ({', '.join(words[0] for words in named)})")


def pointers(addresses: list[int]) -> Any:
    """Return an array of pointers."""
    return (Pointer * len(addresses))(*addresses)


def _key(compiler: list[str]) -> str:
    """Return a file name for what the library depends on: source, flags, compiler and processor."""
    version = _run([*compiler, "--version"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    system = [platform.system(), platform.machine(), *platform.libc_ver(), processor]
    parts = [SOURCE.read_text(encoding="utf-8"), *FLAGS, *THIS_PROCESSOR, *compiler, version, *system]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _load(path: Path) -> ctypes.CDLL | None:
    """Return a library of the cache; None if it is not there, is damaged, or cannot be loaded."""
    try:
        if path.with_suffix(DIGEST).read_text(encoding="ascii") != hashlib.sha256(path.read_bytes()).hexdigest():
            return None
        library = ctypes.CDLL(str(path))
        library.tile, library.lanes, library.generate  # noqa: B018  looked up
    except (OSError, ValueError, AttributeError):
        return None
    return library


def _compile(compiler: list[str], to: Path) -> None:
    with scratch_directory("compiled") as folder:
        made = folder / "compiled.so"
        for attempt, processor in enumerate(THIS_PROCESSOR, 1):
            try:
                _run([*compiler, *FLAGS, processor, str(SOURCE), "-o", str(made), "-lm"])
                content = made.read_bytes()
                break
            except OSError as error:
                raise Unavailable(f"the C compiler {compiler[0]} made nothing ({error.strerror})") from None
            except _Failed:
                if attempt == len(THIS_PROCESSOR):
                    raise
    for path, written in ((to, content), (to.with_suffix(DIGEST), hashlib.sha256(content).hexdigest().encode())):
        with atomic_file(path, force=True) as file:
            file.write_bytes(written)


class _Failed(Unavailable):
    """The compiler says that it cannot."""


def _run(command: list[str]) -> str:
    """Run the compiler and return what it prints. If it takes too long, it is killed, with all that it started."""
    try:
        process = subprocess.Popen(  # noqa: S603  the user's own compiler
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"the C compiler {command[0]} does not run ({error.strerror})") from None
    with process:
        try:
            printed, errors = process.communicate(timeout=COMPILING_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unavailable(f"the C compiler {command[0]} takes over {COMPILING_SECONDS:g} s") from None
            raise
    if process.returncode != 0:
        said = next((line for line in errors.splitlines() if "error" in line), errors.strip()[:200])
        raise _Failed(f"the C compiler {command[0]} cannot compile the model ({said})")
    return printed
