"""Locks have one holder, say who it is, and are free again when it dies."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kappawatt.errors import LogError
from kappawatt.log.locks import DeviceLock, FileLock

HOLD = """
import os, sys
from kappawatt.log.locks import FileLock
lock = FileLock(sys.argv[1], program="agent")
assert lock.acquire()
if sys.argv[2] == "alone" or os.fork() == 0:
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


def hold(path: Path, how: str) -> tuple["subprocess.Popen[str]", int]:
    """A process that holds the lock, and the pid of its fork or else its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")

    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_lock_that_another_holds_is_taken(tmp_path: Path) -> None:
    holder, asking = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    assert not asking.taken()

    with holder:
        assert asking.taken()

    assert not asking.taken()


def test_one_who_only_asks_is_no_holder_for_others_who_ask(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    with open(lock.path, "w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)

        assert not lock.taken()


def test_the_holder_is_named_in_the_error(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock", program="agent")

    with lock, pytest.raises(LogError, match=rf"held by agent \(pid {os.getpid()}\)"), FileLock(lock.path):
        pass


def test_a_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    process, _ = hold(tmp_path / "a.lock", "alone")
    lock = FileLock(tmp_path / "a.lock")
    held = not lock.acquire()
    holder = lock.holder()

    end(process)

    assert held
    assert holder is not None
    assert (holder.pid, holder.program) == (process.pid, "agent")
    assert lock.acquire()
    lock.release()


def test_a_forked_worker_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    process, worker = hold(tmp_path / "a.lock", "with a fork")
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = FileLock(tmp_path / "a.lock")

    free = lock.acquire()

    os.kill(worker, signal.SIGKILL)
    process.communicate()
    assert free
    lock.release()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LogError, match="make its folder writable"):
        FileLock(tmp_path / "file" / "a.lock").acquire()


def test_devices_are_locked_apart(tmp_path: Path) -> None:
    with DeviceLock(tmp_path, "h7", "gpu:0"), DeviceLock(tmp_path, "h7", "gpu:1"):
        assert not DeviceLock(tmp_path, "h7", "gpu:0").acquire()
