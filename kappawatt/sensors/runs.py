"""Runs that a host agent measures: each `track()` leaves a small file, the agent finds the process tree by it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from kappawatt.sensors.host import Host

FOLDER = "runs"
"""Below the spool's folder; `track()` and the agent of a host must be given the same one."""

LOCKS = "locks"
"""Beside it: one lock file a device, held by who measures it, and `AGENT`, held by a running agent."""

AGENT = "agent"
"""The device name under which an agent says that it runs on a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A run on this host: the root of its process tree and when that began (µs UTC), since process ids come again."""

    run_id: str
    host: str
    pid: int
    started_us: int
    by_itself: bool = False
    """It began when no agent was there and writes its own samples: an agent that comes later leaves them to it."""


def register(
    directory: Path, *, run_id: str, host_name: str, host: Host, pid: int | None = None, by_itself: bool = False
) -> Path:
    """Say that the tree below *pid* (None: this process) is a run; the file to remove when it ends.

    A file that stays behind does no harm: it counts only while its process lives.
    """
    pid = os.getpid() if pid is None else pid
    run = Registered(run_id=run_id, host=host_name, pid=pid, started_us=host.started_us(pid), by_itself=by_itself)
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{host_name}.{pid}.{run.started_us}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(run)), encoding="utf-8")
    new.replace(path)  # whole or not at all: the agent may be reading
    return path


def registered(directory: Path, *, host_name: str, host: Host) -> list[Registered]:
    """The runs of this host whose process lives, oldest first; files of those that have ended are removed."""
    found = []
    for path in sorted((directory / FOLDER).glob("*.json")):
        run = _read(path)
        if run is None or run.host != host_name:
            continue
        if host.has(run.pid, run.started_us):
            found.append(run)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda run: (run.started_us, run.run_id))


def _read(path: Path) -> Registered | None:
    """The run in the file; None if it is gone or not one of ours (another version's, or somebody's notes)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Registered(
            run_id=str(found["run_id"]),
            host=str(found["host"]),
            pid=int(found["pid"]),
            started_us=int(found["started_us"]),
            by_itself=bool(found.get("by_itself", False)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
