"""Who is to be woken at the start of an epoch, so that what the last commit made final is released."""

from collections.abc import Iterable
from typing import Any

from .names import SHARDS, ZONES

TICK = "tick"
"""Carries nothing: any message makes a key release its outbox, this one is sure to come."""

Item = tuple[str, Any]


class Ticks:
    """Of one source: ticks for the shards that it addressed in the last epoch, and for the zones behind them one later.

    Bytewax opens an epoch only after the commit of the one before, and snapshots every key that was woken in it; idle
    shards are left asleep, so that they cost nothing. After a start all are woken: any of them may hold an outbox.
    """

    def __init__(self) -> None:
        self._addressed: set[str] = set(SHARDS)
        self._zones_due = True

    def __repr__(self) -> str:
        return f"<Ticks for {len(self._addressed)} shards>"

    def sent(self, items: Iterable[Item]) -> None:
        """Items that leave in this epoch."""
        self._addressed.update(key for key, _ in items)

    def begin(self) -> list[Item]:
        """The ticks that begin an epoch."""
        shards = sorted(self._addressed.intersection(SHARDS))
        zones = ZONES if self._zones_due else ()
        # Zones hear from the shards in this epoch, and release in the next.
        self._zones_due = bool(shards)
        self._addressed = set()
        return [(key, TICK) for key in (*shards, *zones)]
