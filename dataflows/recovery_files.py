"""The recovery files that Bytewax keeps, looked at before it opens them: on damaged ones it panics."""

import pickle
import sqlite3
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
