"""The ledger of what AI training costs the planet, kept live.

Rooms, in the direction in which data flows:
`sensors` read devices, `track` marks runs, `log` keeps records (spool, files, Kafka), `wire` turns bytes into columns,
`stream` holds the event-time operators, `ledger` the energy accounting built from them, `stores` the tables.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know this name; typing itself would take half of the time of this import
if TYPE_CHECKING:
    from typing import Any

    from kappawatt.tracking import track

__all__ = ["__version__", "track"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`kappawatt.track`, imported when first asked for: a bare `import kappawatt` costs a training next to nothing."""
    if name != "track":
        raise AttributeError(f"module 'kappawatt' has no attribute {name!r}")
    from kappawatt.tracking import track

    globals()[name] = track
    return track
