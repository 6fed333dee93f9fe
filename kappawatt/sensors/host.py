"""The host: process trees, CPU time, memory; by /proc, elsewhere by psutil (imported here only). Nothing here waits."""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from kappawatt.errors import SourceBusy, SourceGone
from kappawatt.sensors import procfs
from kappawatt.sensors.tree import Processes, ProcessTree, ProcProcesses, TreeUsage
from kappawatt.units import US_PER_S

__all__ = ["CpuTimes", "Host", "Memory", "ProcessTree", "PsutilProcesses", "TreeUsage"]

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of the Linux kernel (include/linux/proc_ns.h)."""


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


class Host:
    """The machine as a whole."""

    def __init__(self) -> None:
        import psutil  # lazily: it costs `import kappawatt` 15 ms

        self._psutil: Any = psutil
        self._linux = (procfs.PROC / "self" / "stat").exists()
        portable = PsutilProcesses(psutil)
        self._processes: Processes = ProcProcesses(portable) if self._linux else portable

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
        return ProcessTree(self._processes, pid, started_us=self.started_us(pid))

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


class PsutilProcesses:
    """Processes by psutil, on any system."""

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil

    def usage(self, pid: int) -> TreeUsage | None:
        """As of `Processes`; disk bytes are unknown."""
        try:
            process = self._psutil.Process(pid)
            with process.oneshot():
                cpu = process.cpu_times()
                memory = process.memory_info().rss
        except self._psutil.NoSuchProcess:
            return None
        except self._psutil.AccessDenied as error:
            raise SourceBusy(f"process {pid} was asked for its CPU time and refused: {error}") from error
        seconds = cpu.user + cpu.system + getattr(cpu, "children_user", 0.0) + getattr(cpu, "children_system", 0.0)
        return TreeUsage(cpu_time_us=round(seconds * US_PER_S), memory_bytes=memory)

    def began(self, pid: int) -> int | None:
        """µs UTC."""
        try:
            return int(self._psutil.Process(pid).create_time() * US_PER_S)
        except self._psutil.Error:
            return None

    def descendants(self, pids: Collection[int]) -> set[int]:
        """By the whole table of processes, read once for each of *pids*."""
        found: set[int] = set()
        for pid in pids:
            try:
                found |= {child.pid for child in self._psutil.Process(pid).children(recursive=True)}
            except self._psutil.Error:
                continue
        return found - set(pids)
