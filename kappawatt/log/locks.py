"""One owner at a time: advisory file locks that the kernel frees when their holder dies, kill -9 included."""

import fcntl
import json
import os
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from kappawatt.errors import LogError
from kappawatt.log.names import safe_name

_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()
_watching_forks = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Who says to hold a lock; true only while the lock is held."""

    pid: int
    program: str

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})"


class FileLock:
    """An exclusive lock on *path*, for one holder among all processes and threads of this machine.

    The file stays behind: its presence means nothing, only the kernel's lock counts, so nothing ever goes stale.

    Args:
        path: The lock file; made when missing, with its folder.
        program: What other processes are told about the holder.
    """

    def __init__(self, path: Path | str, *, program: str = "") -> None:
        self.path = Path(path)
        self.program = program or Path(sys.argv[0] or "python").name
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """True between `acquire` and `release`."""
        return self._fd is not None

    def acquire(self, blocking: bool = False) -> bool:
        """Take the lock; False if another holds it.

        Raises:
            LogError: The lock file cannot be made or opened.
        """
        if self._fd is not None:
            return True
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        self._sign(fd)
        _close_in_forks(self)
        return True

    def taken(self) -> bool:
        """Whether another holds the lock now. Any number may ask at once: none of them looks like a holder.

        Raises:
            LogError: The lock file cannot be made or opened.
        """
        if self._fd is not None:
            return False
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        os.close(fd)

    def holder(self) -> Holder | None:
        """Who wrote its name into the lock file last."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return Holder(int(found["pid"]), str(found["program"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise LogError(
                f"lock file {self.path} cannot be opened: {error.strerror}; make its folder writable"
            ) from error

    def _sign(self, fd: int) -> None:
        text = json.dumps({"pid": os.getpid(), "program": self.program}).encode()
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, text, 0)
        except OSError:  # a full disk: the lock holds all the same, only its name plate is missing
            return

    def _forget(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> "FileLock":
        if not self.acquire():
            raise LogError(
                f"{self.path} is held by {self.holder() or 'another process'}; stop it or use another folder"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {'held' if self.held else 'free'}>"


class DeviceLock(FileLock):
    """The right to measure *device* of *host*: one owner, so that no joule is measured twice.

    >>> DeviceLock("/run/kw", "h/7", "gpu:0").path
    PosixPath('/run/kw/h_7.gpu_0.lock')
    """

    def __init__(self, directory: Path | str, host: str, device: str, *, program: str = "") -> None:
        super().__init__(Path(directory) / f"{safe_name(host)}.{safe_name(device)}.lock", program=program)


def _close_in_forks(lock: FileLock) -> None:
    # A forked child (a data loader's worker) inherits the descriptor and would keep the lock after its parent died.
    global _watching_forks
    _held.add(lock)
    if not _watching_forks:
        _watching_forks = True
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()
