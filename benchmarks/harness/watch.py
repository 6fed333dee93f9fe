"""A process tree seen from outside: CPU seconds and memory."""

import contextlib
import threading
import time
from collections.abc import Callable

import psutil

EVERY_S = 0.2


class Watch:
    """Looks at a process and all that it begins, every 0.2 s, from a thread of its own.

    CPU is user + system of every member, and of those that ended and were waited for by another member.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._members: dict[int, psutil.Process] = {pid: self._root}
        self._spent: dict[int, float] = {}
        self._peak = 0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Watch of {self._root.pid}, {len(self._members)} members>"

    def cpu_s(self) -> float:
        """CPU seconds of the tree until now."""
        self._look()
        with self._lock:
            return sum(self._spent.values())

    def peak_bytes(self) -> int:
        """The greatest sum of resident memory since the last `forget_peak`; what members share counts for each."""
        return self._peak

    def forget_peak(self) -> None:
        """Begin anew with the peak."""
        self._peak = 0

    def stop(self) -> None:
        """Look no longer."""
        self._done.set()
        self._thread.join()

    def kill(self) -> None:
        """End every member at once, by its id."""
        self._look()
        with self._lock:
            members = list(self._members.values())
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):  # psutil checks that the id is still the same process
                member.kill()

    def _look_on(self) -> None:
        while not self._done.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            # To ask one member looks at every process of the machine: while the root lives, it knows all of them.
            asked = [self._root] if self._root.pid in self._members else list(self._members.values())
            for member in asked:
                with contextlib.suppress(psutil.Error):
                    for child in member.children(recursive=True):
                        self._members.setdefault(child.pid, child)
            resident = 0
            for pid, member in list(self._members.items()):
                try:
                    with member.oneshot():
                        times, memory = member.cpu_times(), member.memory_info()
                except psutil.NoSuchProcess:
                    self._gone(pid, member)
                    continue
                except psutil.Error:
                    continue
                self._spent[pid] = times.user + times.system + times.children_user + times.children_system
                resident += memory.rss
            self._peak = max(self._peak, resident)

    def _gone(self, pid: int, member: psutil.Process) -> None:
        """Its parent, a member that waited for it, has its CPU now; of the root the last figure stays."""
        if member is not self._root:
            self._spent.pop(pid, None)
        self._members.pop(pid, None)


def wait_for(condition: Callable[[], bool], limit_s: float, every_s: float = 0.05) -> bool:
    """Whether a callable became true within the limit."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every_s)
    return False
