"""Damage to files: strategies of hypothesis that draw it, and the check of how a damaged file is received.

Whatever was done to a file, what opens it works, or refuses it in one printable line that names it; in time, without
much memory, and without a change to any file.
"""

import json
import os
import re
import signal
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from slash_infer.errors import UserError

SECONDS = 30  # that one file may take
MEMORY = 768 << 20  # bytes that one file may take, beyond what the process had
STEERING = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what moves a terminal, or is no character."""
EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1", b"\0\0\x80\x7f"]


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 5 << 30)


INSTEAD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda _: None,
    "a link to itself": lambda path: path.symlink_to(path),
    "gigabytes of nothing": _sparse,
    "an empty file": Path.touch,
}
STRANGE_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65536, 2**31 - 1, 2**31, 2**62, 2**63, 2**64, 10**30, -(10**30)),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "0", "x", "x" * 5000, "../../etc/passwd", "/dev/zero", "\x1b[31m\a", "a\nb\r", "\u202egnp", "\ud800", "\0"),
    *([], {}, [[]], [None], {"": None}, {"made_by": "nobody"}, [0] * 1000),
]


@dataclass(frozen=True)
class ByteDamage:
    """A change to some bytes."""

    how: str
    place: int
    """Where in the file, or, if `early`, in its first 256 bytes; counted round and round."""
    early: bool
    length: int
    extreme: bytes

    def apply(self, data: bytearray) -> None:
        at = self.place % max(1, min(len(data), 256) if self.early else len(data))
        piece = slice(at, at + self.length)
        match self.how:
            case "flip" if data:
                data[at] ^= 1 << self.length % 8
            case "overwrite":
                data[at : at + len(self.extreme)] = self.extreme
            case "cut":
                del data[at:]
            case "remove":
                del data[piece]
            case "double":
                data[at:at] = data[piece]
            case "erase":
                data[piece] = bytes(len(data[piece]))
            case "append":
                data += self.extreme * self.length


@dataclass(frozen=True)
class ValueDamage:
    """A change to one value of a JSON document."""

    how: str
    place: int
    """Which value, counted round and round."""
    value: Any

    def apply(self, content: Any) -> None:
        places = list(_places(content))
        if not places:
            return
        holder, key = places[self.place % len(places)]
        match self.how:
            case "replace":
                holder[key] = deepcopy(self.value)
            case "remove":
                del holder[key]
            case "add":
                if isinstance(holder, dict):
                    holder[str(self.value)[:40]] = holder[key]
                else:
                    holder.insert(key, deepcopy(self.value))
            case "double":
                if isinstance(holder, list):
                    holder.append(holder[key])
                elif isinstance(holder[key], int | float | str):
                    holder[key] = holder[key] * 2
            case "swap":
                other_holder, other = places[self.place // len(places) % len(places)]
                holder[key], other_holder[other] = deepcopy(other_holder[other]), deepcopy(holder[key])


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every value of a document, by what holds it and its key there."""
    keys = range(len(content)) if isinstance(content, list) else list(content) if isinstance(content, dict) else []
    for key in keys:
        yield content, key
        yield from _places(content[key])


PLACES = st.integers(0, (1 << 32) - 1)
BYTES = st.lists(
    st.builds(
        ByteDamage,
        how=st.sampled_from(["flip", "overwrite", "cut", "remove", "double", "erase", "append"]),
        place=PLACES,
        early=st.booleans(),
        length=st.integers(1, 600),
        extreme=st.sampled_from(EXTREMES),
    ),
    min_size=1,
    max_size=3,
)
VALUES = st.lists(
    st.builds(
        ValueDamage,
        how=st.sampled_from(["replace", "replace", "replace", "remove", "add", "double", "swap"]),
        place=PLACES,
        value=st.sampled_from(STRANGE_VALUES),
    ),
    min_size=1,
    max_size=2,
)


def draw_damage(data: st.DataObject, path: Path) -> bool:
    """Draw and do damage to a file; return whether it is still a plain file, which can be sealed."""
    kinds = ["bytes"] * 6 + ["instead"] + ["values"] * (13 if path.suffix == ".json" else 0)
    match data.draw(st.sampled_from(kinds), "damage"):
        case "bytes":
            content = bytearray(path.read_bytes())
            for damage in data.draw(BYTES):
                damage.apply(content)
            path.write_bytes(content)
        case "values":
            document = json.loads(path.read_bytes())
            for change in data.draw(VALUES):
                change.apply(document)
            path.write_text(json.dumps(document))
        case "instead":
            path.unlink()
            INSTEAD[data.draw(st.sampled_from(sorted(INSTEAD)))](path)
            return False
    return True


def receive(
    use: Callable[[], object], folder: Path, names: list[str], *, may_change: bool = False, within: bool = True
) -> bool:
    """Use a folder with a damaged file in it, and check how that is received.

    Args:
        use: what opens the file.
        folder: where nothing may change.
        names: of which a refusal says one.
        may_change: whether the folder may change where it works.
        within: whether a refusal says the folder's path, too.

    Returns:
        whether it was refused.
    """
    before = _held(folder)
    refusal = None
    with _bounded():
        try:
            use()
        except UserError as error:
            refusal = str(error)
    assert (refusal is None and may_change) or _held(folder) == before
    if refusal is None:
        return False
    assert not [character for character in refusal if unicodedata.category(character) in STEERING], refusal
    assert any(name in refusal for name in names), refusal
    assert str(folder) in refusal or not within, refusal
    return True


def _held(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what is in a folder but locks, with what tells whether it was changed."""
    found: dict[str, tuple[int, ...]] = {}
    for path in (path for path in folder.rglob("*") if path.suffix != ".lock"):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
    return found


@contextmanager
def _bounded() -> Iterator[None]:
    """Limit the time and memory of the body."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it takes over {SECONDS} s")

    of_the_test = signal.setitimer(signal.ITIMER_REAL, 0)  # its own limit
    handler = signal.signal(signal.SIGALRM, late)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _memory("VmRSS")
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *of_the_test)
    taken = _memory("VmHWM") - before
    assert taken < MEMORY, f"it takes {taken >> 20} MB"


def _memory(field: str) -> int:
    """Return a line of this process's account of its memory, in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10
