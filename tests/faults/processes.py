"""Runs works in processes that have imported everything already, and does things to them."""

import ctypes
import multiprocessing
import os
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from fault_samples import Samples
from killed_outputs import watch_renames
from slash_process import PRELOADED
from works import WORKS, furnish, leftovers, next_command, require_whole

from slash_infer.errors import UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHANGES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.truncate", "os.chmod", "shutil.rmtree")
"""Audit events of changes on disk, besides files that are opened for writing."""
ROOMY = 1 << 28  # bytes of a disk on which every work fits
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Working:
    """A process at work."""

    process: BaseProcess
    log: Path

    def wait(self) -> tuple[int, str]:
        """Return its exit code, negative for a signal, and what it has said on stderr."""
        self.process.join()
        assert self.process.exitcode is not None
        said = self.log.read_text()
        return self.process.exitcode, said

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def wait_for_start(self) -> None:
        """Wait until it has begun."""
        while not self.log.with_suffix(".begun").exists():
            assert self.process.is_alive() or self.log.with_suffix(".begun").exists(), self.log.read_text()
            time.sleep(0.002)


def begin(
    command: str | Callable[[], object], place: Path, log: Path, first: Callable[[], object] | None = None
) -> Working:
    """Start a command, or a function, in a working directory.

    Args:
        command: what to do.
        place: where.
        log: a file elsewhere for what it says on stderr.
        first: what the process does before.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([*PRELOADED, "slash_train.prepare", "slash_train.evaluate", "slash_cli.app"])
    log.with_suffix(".begun").unlink(missing_ok=True)
    process = server.Process(target=_work, args=(command, place, log, first))
    process.start()
    return Working(process, log)


def _work(command: str | Callable[[], object], place: Path, log: Path, first: Callable[[], object] | None) -> None:
    """Be the process."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(place)
    os.environ["TMPDIR"], tempfile.tempdir = str(place / "tmp"), None
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if first is not None:
        first()
    _do(command, log.with_suffix(".begun"))


def _do(command: str | Callable[[], object], begun: Path) -> None:
    if callable(command):
        begun.touch()
        try:
            command()
        except UserError as error:
            sys.stderr.write(f"slash: {error}\n")
            sys.exit(2)
        return
    sys.argv = ["slash", *shlex.split(command)]
    from slash_cli.app import run
    from slash_cli.stopping import heed_signals

    heed_signals()
    begun.touch()
    run()


def die_at(place: Path, change: int) -> None:
    """Let this process be killed before its change number `change`, from 0, to anything in `place`."""
    seen = 0

    def see() -> None:
        nonlocal seen
        if seen == change:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if _is_change(event, arguments, str(place)):
            see()

    sys.addaudithook(watch)
    watch_renames(see)


def _is_change(event: str, arguments: tuple[object, ...], place: str) -> bool:
    """Return whether an audit event is a change of something in `place`, which is the working directory."""
    if event == "open":
        flags = arguments[2]
        if not (isinstance(flags, int) and flags & WRITING):
            return False
    elif event not in CHANGES:
        return False
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    path = os.fsdecode(path)
    return not path.startswith("/") or path.startswith(place)


def work_on_a_full_disk(name: str, place: Path, samples: Samples, room: int, log: Path) -> None:
    """Do a work on a disk of its own with so many bytes of room, and again when there is more.

    Exits with 3 if it fitted at once, and with 4 where no such disk can be had.
    """
    work = next(work for work in WORKS if work.name == name)
    try:
        _mount(place, ROOMY)
    except OSError:
        os._exit(4)
    furnish(work, place, samples)
    disk = os.statvfs(place)
    _mount(place, (disk.f_blocks - disk.f_bfree) * disk.f_frsize + room, again=True)
    os.chdir(place)
    code = _forked(partial(_do, work.command, log.with_suffix(".begun")), log)
    fits = code == 0
    require_whole(work, place, done=fits)
    if not fits:
        lines = [
            line
            for line in log.read_text().splitlines()
            if "goes on without" not in line and not line.startswith("ONNX Runtime")
        ]
        assert code == 2 and len(lines) == 1 and "No space left on device" in lines[0], (code, lines)
        assert work.name.startswith("train") or not leftovers(place), leftovers(place)
        _mount(place, ROOMY, again=True)
        code = _forked(partial(_do, next_command(work, place), log.with_suffix(".begun")), log)
        assert code == 0, log.read_text()
        require_whole(work, place, done=True)
    assert not leftovers(place), leftovers(place)
    os._exit(3 if fits else 0)


def _forked(do: Callable[[], object], log: Path) -> int:
    """Return the exit code of a forked process."""
    child = os.fork()
    if not child:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = 1
        try:
            do()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _mount(place: Path, size: int, *, again: bool = False) -> None:
    """Mount a disk of so many bytes that only this process and its children see.

    Raises:
        OSError: it may not.
    """
    library = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user, remount, private = 0x20000, 0x10000000, 0x20, 0x40000 | 0x4000
    if not again:
        user, group = os.getuid(), os.getgid()
        if library.unshare(new_mounts | new_user):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        library.mount(b"none", b"/", None, private, None)
    options = f"size={size}".encode()
    if library.mount(b"tmpfs", os.fsencode(place), b"tmpfs", remount if again else 0, options):
        raise OSError(ctypes.get_errno(), "mount")
