"""Who else measures on this host: the agent, or other runs. No joule is written twice.

Every measured run is registered below the spool's folder. A host agent, if there is one, measures them all. Without one
each run measures itself, and the one that holds the devices' locks also writes what nobody used; what others used it
leaves to them.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from kappawatt.errors import LogError, SourceGone
from kappawatt.log.locks import DeviceLock
from kappawatt.sensors.host import Host, ProcessTree
from kappawatt.sensors.runs import AGENT, LOCKS, register, registered

_log = logging.getLogger("kappawatt")


class Neighbours:
    """The host as run *run_id* sees it: registers it, finds the others, owns the devices if nobody does."""

    def __init__(self, spool: Path, host: Host, *, host_name: str, run_id: str) -> None:
        self._spool, self._host, self._host_name, self._run_id = spool, host, host_name, run_id
        self._file: Path | None = None
        self._locks: list[DeviceLock] = []
        self._trees: dict[str, ProcessTree] = {}

    def __repr__(self) -> str:
        state = "owns the devices" if self._locks else "leaves the rest to another"
        return f"<Neighbours of {self._run_id}: {', '.join(self._trees) or 'none'}; {state}>"

    def agent(self) -> str | None:
        """Who measures this host for all runs; None if nobody does."""
        lock = self._lock(AGENT)
        return str(lock.holder() or "a host agent") if lock.taken() else None

    def register(self, pid: int, *, by_itself: bool) -> None:
        """Let the agent and other runs know that the tree below *pid* is ours.

        *by_itself*: this run writes its own samples, which an agent that begins later leaves to it.

        Raises:
            OSError: The spool's folder cannot be written.
            SourceGone: There is no such process.
        """
        self._file = register(
            self._spool,
            run_id=self._run_id,
            host_name=self._host_name,
            host=self._host,
            pid=pid,
            by_itself=by_itself,
        )

    def others(self) -> dict[str, ProcessTree]:
        """The trees of the other runs on this host that live now."""
        found = {run.run_id: run.pid for run in registered(self._spool, host_name=self._host_name, host=self._host)}
        found.pop(self._run_id, None)
        self._trees = {run_id: tree for run_id, tree in self._trees.items() if run_id in found}
        for run_id, pid in found.items():
            if run_id in self._trees:
                continue
            try:
                self._trees[run_id] = self._host.tree(pid)
            except SourceGone:
                continue  # it ended between the two looks
        return self._trees

    def own(self, devices: Iterable[str]) -> bool:
        """Whether what nobody used is ours to write; taken over when its owner has ended."""
        if self._locks:
            return True
        taken: list[DeviceLock] = []
        for device in devices:
            lock = self._lock(device)
            if not lock.acquire():
                for each in taken:
                    each.release()
                return False
            taken.append(lock)
        self._locks = taken
        return bool(taken)

    def leave(self) -> None:
        """Be gone: the file and the locks are given back."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None
        for lock in self._locks:
            lock.release()
        self._locks = []

    def _lock(self, device: str) -> DeviceLock:
        return DeviceLock(self._spool / LOCKS, self._host_name, device, program=f"run {self._run_id}")


def open_neighbours(spool: Path, host: Host, *, host_name: str, run_id: str) -> tuple[Neighbours | None, str | None]:
    """The neighbours and the agent's name; (None, None), said once, if the spool's folder cannot be used.

    Then the run measures itself and writes only its own share.
    """
    neighbours = Neighbours(spool, host, host_name=host_name, run_id=run_id)
    try:
        return neighbours, neighbours.agent()
    except (OSError, LogError) as error:
        _log.warning("kappawatt: other runs on this host are not seen: %s", error)
        return None, None
