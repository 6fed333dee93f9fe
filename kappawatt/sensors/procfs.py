"""Linux's /proc, read directly: one file a question, a tenth of what a portable library needs at every tick."""

import os
from dataclasses import dataclass
from pathlib import Path

from kappawatt.units import US_PER_S

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICK_US = US_PER_S // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    CPU time of itself and of the children that it has waited for (µs), resident memory (bytes), and
    when it began (ticks since boot: with the id a name for good).
    """

    cpu_time_us: int
    memory_bytes: int
    started_ticks: int


def cpu_us(proc: Path = PROC) -> tuple[int, int]:
    """Busy and idle time of all CPUs since boot, µs; waiting for a disk is idle, stolen time is neither."""
    with open(proc / "stat", "rb") as file:
        # cpu user nice system idle iowait irq softirq steal guest guest_nice; user holds guest already (proc(5))
        user, nice, system, idle, iowait, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) * _TICK_US, (idle + iowait) * _TICK_US


def memory_bytes(proc: Path = PROC) -> tuple[int, int]:
    """Memory in use (total − available) and installed, bytes."""
    with open(proc / "meminfo", "rb") as file:
        lines = dict(line.split(b":", 1) for line in file.read(256).splitlines()[:3])
    total = int(lines[b"MemTotal"].split()[0]) * 1024
    return total - int(lines[b"MemAvailable"].split()[0]) * 1024, total


def process(pid: int, proc: Path = PROC) -> Process:
    """One process.

    Raises:
        FileNotFoundError, ProcessLookupError: There is none of that id.
    """
    with open(f"{proc}/{pid}/stat", "rb") as file:
        text = file.read()
    # The name is in brackets and may hold spaces and brackets: the last one ends it.
    fields = text[text.rindex(b")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
    return Process(ticks * _TICK_US, int(fields[21]) * _PAGE_BYTES, int(fields[19]))


def lists_children(proc: Path = PROC) -> bool:
    """Whether the kernel was built to list children (PROC_CHILDREN; all common distributions)."""
    return os.path.exists(f"{proc}/thread-self/children")


def children(pid: int, proc: Path = PROC) -> list[int]:
    """Ids of the processes that a process has begun and that still run; none if it has ended.

    One that ends meanwhile may hide another until the next look.
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"{proc}/{pid}/task"):
            with open(f"{proc}/{pid}/task/{thread}/children", "rb") as file:
                found += (int(child) for child in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def disk_bytes(pid: int, proc: Path = PROC) -> tuple[int, int]:
    """Bytes that a process has had read from and written to disks; (−1, −1) if another user's, which is not told."""
    try:
        with open(f"{proc}/{pid}/io", "rb") as file:
            found = dict(line.split(b": ", 1) for line in file.read().splitlines())
    except OSError:
        return -1, -1
    return int(found[b"read_bytes"]), int(found[b"write_bytes"])
