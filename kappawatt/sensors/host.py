"""The host: process trees, CPU time, memory; by /proc, elsewhere by psutil (imported here only). Nothing here waits."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kappawatt.errors import SourceBusy, SourceGone
from kappawatt.sensors import procfs
from kappawatt.units import US_PER_S

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of the Linux kernel (include/linux/proc_ns.h)."""

REFRESH_US = 5 * US_PER_S
"""How often a process tree is searched for new members; the search reads all of /proc, the members alone are cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """CPU time of all logical CPUs since boot, µs; waiting for a disk counts as idle, stolen time as neither."""

    busy_us: int
    idle_us: int

    @property
    def capacity_us(self) -> int:
        """What the CPUs had, busy or not, µs."""
        return self.busy_us + self.idle_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory in use and installed, bytes."""

    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUsage:
    """What a process tree has used since its root began; counters never go back. Unknown: −1.

    `memory_bytes` is the sum of resident sizes now: pages that several members share count once each.
    """

    cpu_time_us: int
    memory_bytes: int
    disk_read_bytes: int = -1
    disk_write_bytes: int = -1


class Host:
    """The machine as a whole."""

    def __init__(self) -> None:
        import psutil  # lazily: it costs `import kappawatt` 15 ms

        self._psutil: Any = psutil
        self._linux = (procfs.PROC / "self" / "stat").exists()

    def cpu_times(self) -> CpuTimes:
        """Busy and idle time of all CPUs, cumulative; see `Teads` in model.py for what is made of it."""
        if self._linux:
            busy_us, idle_us = procfs.cpu_us()
            return CpuTimes(busy_us=busy_us, idle_us=idle_us)
        t = self._psutil.cpu_times()
        busy = sum(getattr(t, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc"))
        idle = t.idle + getattr(t, "iowait", 0.0)
        return CpuTimes(busy_us=round(busy * US_PER_S), idle_us=round(idle * US_PER_S))

    def memory(self) -> Memory:
        """Memory that processes use, without caches that can be given back: total − available."""
        if self._linux:
            used_bytes, total_bytes = procfs.memory_bytes()
            return Memory(used_bytes=used_bytes, total_bytes=total_bytes)
        memory = self._psutil.virtual_memory()
        return Memory(used_bytes=memory.total - memory.available, total_bytes=memory.total)

    def cpu_count(self) -> int:
        """Logical CPUs."""
        return int(self._psutil.cpu_count(logical=True) or 1)

    def network(self) -> tuple[int, int]:
        """Bytes received and sent over all interfaces since boot; (−1, −1) where they cannot be read."""
        counters = self._psutil.net_io_counters()
        return (counters.bytes_recv, counters.bytes_sent) if counters else (-1, -1)

    def own_cpu_us(self) -> int:
        """CPU time of this very process, user and system, µs: what measuring costs."""
        return time.process_time_ns() // 1_000

    def own_process_ids(self) -> bool:
        """Whether process ids here differ from the machine's, so that the driver's are not ours: most containers."""
        try:
            return os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE
        except OSError:
            return False

    def tree(self, pid: int) -> "ProcessTree":
        """The tree below process *pid*.

        Raises:
            SourceGone: There is no such process.
        """
        return ProcessTree(self._psutil, pid, linux=self._linux)

    def has(self, pid: int, started_us: int | None = None) -> bool:
        """Whether process *pid* lives and, if given, began at *started_us* (within a second: ids are used again)."""
        try:
            process = self._psutil.Process(pid)
            began_us = int(process.create_time() * US_PER_S)
            alive = process.status() != self._psutil.STATUS_ZOMBIE
        except self._psutil.Error:
            return False
        return bool(alive) and (started_us is None or abs(began_us - started_us) <= US_PER_S)

    def is_below(self, pid: int, ancestor: int) -> bool:
        """Whether process *pid* descends from process *ancestor*."""
        try:
            return any(parent.pid == ancestor for parent in self._psutil.Process(pid).parents())
        except self._psutil.Error:
            return False

    def started_us(self, pid: int) -> int:
        """When process *pid* began, µs UTC; with the pid it names a process for good."""
        try:
            return int(self._psutil.Process(pid).create_time() * US_PER_S)
        except self._psutil.Error as error:
            raise SourceGone(f"process {pid} was asked for its start and is not there: {error}") from error


class ProcessTree:
    """A process and all its descendants, finished ones too (their time is in the counters of who waited for them).

    A member stays one when its parent ends. New members are found every `REFRESH_US`; until then their time comes to
    light when they are waited for, so the sum is late by that much but loses nothing that has a parent.
    """

    def __init__(self, psutil: Any, pid: int, *, linux: bool) -> None:
        self._psutil = psutil
        self._ask = self._by_proc if linux else self._by_psutil
        try:
            self._root = psutil.Process(pid)
        except psutil.Error as error:
            raise SourceGone(f"process {pid} was asked for its usage and is not there: {error}") from error
        self._members: dict[int, Any] = {pid: self._root}
        self._started: dict[int, int] = {}
        self._refreshed_us: int | None = None
        self._last = TreeUsage(cpu_time_us=0, memory_bytes=0)

    def __repr__(self) -> str:
        return f"<ProcessTree {self._root.pid}, {len(self._members)} processes>"

    @property
    def started_us(self) -> int:
        """When the root began, µs UTC."""
        return int(self._root.create_time() * US_PER_S)

    def pids(self) -> frozenset[int]:
        """The members known now."""
        return frozenset(self._members)

    def read(self, now_monotonic_us: int) -> TreeUsage:
        """The usage so far.

        Raises:
            SourceGone: No member lives any more.
        """
        if self._refreshed_us is None or now_monotonic_us - self._refreshed_us >= REFRESH_US:
            self._refresh()
            self._refreshed_us = now_monotonic_us
        found = [usage for usage in map(self._usage, tuple(self._members.values())) if usage is not None]
        if not found:
            raise SourceGone(f"process {self._root.pid} and its descendants have ended")
        self._last = TreeUsage(
            # A child that ends between two looks is missing for one of them: the next has it, and no counter goes back.
            cpu_time_us=max(self._last.cpu_time_us, sum(usage.cpu_time_us for usage in found)),
            memory_bytes=sum(usage.memory_bytes for usage in found),
            disk_read_bytes=_known_sum(self._last.disk_read_bytes, (usage.disk_read_bytes for usage in found)),
            disk_write_bytes=_known_sum(self._last.disk_write_bytes, (usage.disk_write_bytes for usage in found)),
        )
        return self._last

    def _refresh(self) -> None:
        for member in tuple(self._members.values()):
            if member.pid not in self._members:
                continue
            try:
                children = member.children(recursive=True) if member.is_running() else []
            except self._psutil.Error:
                continue
            self._members.update((child.pid, child) for child in children)

    def _usage(self, process: Any) -> TreeUsage | None:
        usage: TreeUsage | None = self._ask(process)
        if usage is None:
            self._members.pop(process.pid, None)
        return usage

    def _by_proc(self, process: Any) -> TreeUsage | None:
        try:
            found = procfs.process(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        if self._started.setdefault(process.pid, found.started_ticks) != found.started_ticks:
            del self._started[process.pid]  # the id came again: another process
            return None
        read_bytes, write_bytes = procfs.disk_bytes(process.pid)
        return TreeUsage(
            cpu_time_us=found.cpu_time_us,
            memory_bytes=found.memory_bytes,
            disk_read_bytes=read_bytes,
            disk_write_bytes=write_bytes,
        )

    def _by_psutil(self, process: Any) -> TreeUsage | None:
        try:
            with process.oneshot():
                cpu = process.cpu_times()
                memory = process.memory_info().rss
        except self._psutil.NoSuchProcess:
            return None
        except self._psutil.AccessDenied as error:
            raise SourceBusy(f"process {process.pid} was asked for its CPU time and refused: {error}") from error
        seconds = cpu.user + cpu.system + getattr(cpu, "children_user", 0.0) + getattr(cpu, "children_system", 0.0)
        return TreeUsage(cpu_time_us=round(seconds * US_PER_S), memory_bytes=memory)  # macOS tells no disk counters


def _known_sum(before: int, values: Iterable[int]) -> int:
    """Σ of the known values, never below *before*; −1 while none is known."""
    return max([before, *([sum(known)] if (known := [v for v in values if v >= 0]) else [])])
