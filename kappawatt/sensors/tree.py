"""A process with all that it began: what the whole tree has used, finished members too."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from kappawatt.errors import SourceGone
from kappawatt.sensors import procfs
from kappawatt.units import US_PER_S

REFRESH_US = 5 * US_PER_S
"""How often a tree is searched for new members; to look at those that are known is much cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUsage:
    """What processes have used since they began. Unknown: −1.

    `memory_bytes` is the sum of resident sizes now: pages that several members share count once each.
    """

    cpu_time_us: int
    memory_bytes: int
    disk_read_bytes: int = -1
    disk_write_bytes: int = -1


class Processes(Protocol):
    """The machine's processes, by id."""

    def usage(self, pid: int) -> TreeUsage | None:
        """One process and the children that it has waited for; None if there is none of that id.

        Raises:
            SourceBusy: It cannot be said just now.
        """
        ...

    def began(self, pid: int) -> int | None:
        """A number that, with its id, names a process for good; None if there is none."""
        ...

    def descendants(self, pids: Collection[int]) -> set[int]:
        """All that run below any of *pids*."""
        ...


class ProcProcesses:
    """Processes by Linux's /proc; *otherwise* answers where the kernel does not list children."""

    def __init__(self, otherwise: Processes) -> None:
        self._otherwise = otherwise

    def usage(self, pid: int) -> TreeUsage | None:
        """As of `Processes`; disk bytes of another user's process are unknown."""
        try:
            found = procfs.process(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        read_bytes, write_bytes = procfs.disk_bytes(pid)
        return TreeUsage(
            cpu_time_us=found.cpu_time_us,
            memory_bytes=found.memory_bytes,
            disk_read_bytes=read_bytes,
            disk_write_bytes=write_bytes,
        )

    def began(self, pid: int) -> int | None:
        """Ticks since boot."""
        try:
            return procfs.process(pid).started_ticks
        except (FileNotFoundError, ProcessLookupError):
            return None

    def descendants(self, pids: Collection[int]) -> set[int]:
        """Level by level, by the threads' lists of children."""
        if not procfs.lists_children():
            return self._otherwise.descendants(pids)
        found: set[int] = set()
        level = set(pids)
        while level:
            below = {child for pid in level for child in procfs.children(pid)} - found - set(pids)
            found |= below
            level = below
        return found


class ProcessTree:
    """A process and all its descendants; finished ones are in the counters of those who waited for them.

    A member stays one when its parent ends. New members are found every `REFRESH_US`; until then their time comes to
    light when they are waited for, so the sum is late by that much but loses nothing that has a parent.
    """

    def __init__(self, processes: Processes, pid: int, *, started_us: int) -> None:
        self._processes = processes
        self._pid = pid
        self.started_us = started_us
        """When the root began, µs UTC."""
        self._members: dict[int, int] = {}
        self._add(pid)
        if not self._members:
            raise SourceGone(f"process {pid} was asked for its usage and is not there")
        self._refreshed_us: int | None = None
        self._last = TreeUsage(cpu_time_us=0, memory_bytes=0)

    def __repr__(self) -> str:
        return f"<ProcessTree {self._pid}, {len(self._members)} processes>"

    def pids(self) -> frozenset[int]:
        """The members known now."""
        return frozenset(self._members)

    def read(self, now_monotonic_us: int) -> TreeUsage:
        """The usage so far; no counter of it ever goes back.

        Raises:
            SourceGone: No member lives any more.
            SourceBusy: It cannot be said just now.
        """
        if self._refreshed_us is None or now_monotonic_us - self._refreshed_us >= REFRESH_US:
            self._refresh()
            self._refreshed_us = now_monotonic_us
        found = [(pid, self._processes.usage(pid)) for pid in tuple(self._members)]
        living = [usage for _, usage in found if usage is not None]
        for pid, usage in found:
            if usage is None:
                del self._members[pid]
        if not living:
            raise SourceGone(f"process {self._pid} and its descendants have ended")
        self._last = TreeUsage(
            # A child that ends between two looks is missing for one of them; the next has it with its parent's.
            cpu_time_us=max(self._last.cpu_time_us, sum(usage.cpu_time_us for usage in living)),
            memory_bytes=sum(usage.memory_bytes for usage in living),
            disk_read_bytes=_known_sum(self._last.disk_read_bytes, (usage.disk_read_bytes for usage in living)),
            disk_write_bytes=_known_sum(self._last.disk_write_bytes, (usage.disk_write_bytes for usage in living)),
        )
        return self._last

    def _refresh(self) -> None:
        for pid, began in tuple(self._members.items()):
            if self._processes.began(pid) != began:
                del self._members[pid]  # ended; perhaps its id came again
        for pid in self._processes.descendants(tuple(self._members)):
            self._add(pid)

    def _add(self, pid: int) -> None:
        began = self._processes.began(pid)
        if began is not None:
            self._members.setdefault(pid, began)


def _known_sum(before: int, values: Iterable[int]) -> int:
    """Σ of the known values, never below *before*; −1 while none is known."""
    known = [value for value in values if value >= 0]
    return max(before, sum(known)) if known else before
