"""The recovery files that Bytewax keeps, before it opens them: on damaged ones it panics, and it trusts dead epochs."""

import pickle
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

_SUFFIX = ".sqlite3"


def damage(folder: Path, parts: int) -> str | None:
    """What is wrong with the *parts* files in *folder*, in words; None: Bytewax can resume from them.

    Each file is read to its end. It is trusted as Bytewax trusts it: who may write it can run code here.
    """
    wanted = {f"part-{number}{_SUFFIX}" for number in range(parts)}
    there = {path.name for path in folder.glob(f"*{_SUFFIX}")} if folder.is_dir() else set()
    if missing := sorted(wanted - there):
        return f"its file {missing[0]} is missing"
    if more := sorted(there - wanted):
        return f"it has more than {parts} recovery files: {more[0]}"
    for name in sorted(wanted):
        why = _damage_of(folder / name, parts)
        if why is not None:
            return f"its file {name} {why}"
    return None


def drop_uncommitted(folder: Path) -> int:
    """Delete what was kept of epochs that were never committed, from which Bytewax is about to begin; how many states.

    A process that is killed between its states and the commit leaves them behind. Bytewax does not read them for this
    start; but of a key that this start does not wake in those epochs they stay the newest, and a later start takes
    them for committed. Keys that are woken seldom, as the journal's are, would hold what never was.
    """
    files = sorted(folder.glob(f"*{_SUFFIX}"))
    epoch = _resume_epoch(files)
    if epoch is None:
        return 0
    dropped = 0
    for path in files:
        with closing(sqlite3.connect(path)) as file, file:
            dropped += file.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,)).rowcount
    return dropped


def _resume_epoch(files: Sequence[Path]) -> int | None:
    """Where Bytewax begins, reckoned its way: the least frontier of the last execution's workers; None: never ran."""
    starts: list[tuple[int, int, int]] = []
    fronts: list[tuple[int, int, int]] = []
    for path in files:
        with closing(sqlite3.connect(path)) as file:
            starts += file.execute("SELECT ex_num, worker_count, resume_epoch FROM exs")
            fronts += file.execute("SELECT ex_num, worker_index, worker_frontier FROM fronts")
    if not starts:
        return None
    last, workers, begin = max(starts)
    reached = dict.fromkeys(range(workers), begin)
    for _, worker, frontier in (front for front in fronts if front[0] == last):
        reached[worker] = max(reached[worker], frontier)
    return min(reached.values())


def _damage_of(path: Path, parts: int) -> str | None:
    if path.stat().st_size == 0:
        return "is empty"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return "is damaged"
            if file.execute("SELECT part_count FROM parts").fetchall() != [(parts,)]:
                return f"is not one of {parts}"
            for (state,) in file.execute("SELECT ser_change FROM snaps WHERE ser_change IS NOT NULL"):
                pickle.loads(state)  # noqa: S301 - as Bytewax does right after
    except sqlite3.DatabaseError:
        return "is damaged"
    except Exception:
        # unpickling raises whatever the bytes make it raise
        return "holds a state that cannot be read"
    return None
